//! The client's validated configuration.

use std::ffi::OsString;
use std::time::Duration;

use crate::cli::{ClientArgs, Color};
use crate::client::net::address::Address;
use crate::net::GIVEN_UP_AFTER;
use crate::protocol::name::Group;
use crate::protocol::password::Password;

#[derive(Debug)]
pub struct Config {
    pub server: Address,
    /// `NAME` or `NAME GROUP`. If it is `None`, the client asks the user.
    pub name: Option<String>,
    /// The group to use if the name comes without a group.
    pub group: Option<Group>,
    /// The room's password. If it is `None` and the room needs one, the client asks the user.
    pub password: Option<Password>,
    pub color: Color,
    /// Whether to reconnect after the connection is lost.
    pub reconnects: bool,
    /// The name of the launcher's control socket.
    pub control_socket: Option<OsString>,
    /// The number of this client's window in the launcher's session, as shown in the window's
    /// title.
    pub window: Option<usize>,
    /// Whether the client runs in a launcher's pane, which stays open when the client exits.
    pub in_pane: bool,
    /// Size of the socket's receive buffer, in bytes. `None` if the kernel chooses the size.
    pub receive_buffer: Option<usize>,
    /// How long the server may stay silent while the echo of a message is due. After this time, the
    /// terminal UI treats the connection as lost.
    pub answer_time: Duration,
}

impl TryFrom<ClientArgs> for Config {
    type Error = String;

    fn try_from(args: ClientArgs) -> Result<Self, String> {
        let server = Address::parse(args.host.as_deref(), args.lone_port, args.port)?;
        let group = args.group.as_deref().map(Group::new).transpose();
        Ok(Self {
            server,
            name: args.name,
            group: group.map_err(|error| error.to_string())?,
            password: args.password,
            color: args.color,
            reconnects: !args.no_reconnect,
            control_socket: args.control_socket.filter(|name| !name.is_empty()),
            window: args.window,
            in_pane: args.in_pane,
            receive_buffer: args.receive_buffer,
            answer_time: args
                .answer_time
                .map_or(GIVEN_UP_AFTER, Duration::from_millis),
        })
    }
}
