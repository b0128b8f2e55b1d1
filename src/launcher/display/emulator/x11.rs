//! A connection to the X server, which reads the windows and monitors, and reads and moves the
//! keyboard focus.

use std::error::Error;
use std::os::fd::{AsFd, BorrowedFd};

use x11rb::connection::Connection;
use x11rb::protocol::randr::ConnectionExt as _;
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ChangeWindowAttributesAux, ConnectionExt as _, EventMask, GetPropertyReply,
    InputFocus, MapState, Window,
};
use x11rb::rust_connection::RustConnection;

use crate::launcher::display::emulator::geometry::Rect;

/// Maximum number of 32-bit values to read from a property. The limit allows for a list of 4,096
/// windows.
const MAX_VALUES: u32 = 4096;

x11rb::atom_manager! {
    /// The properties that are read: those of the Extended Window Manager Hints (EWMH), and
    /// `_GTK_FRAME_EXTENTS`, the width of the margins in which GTK draws a window's shadow.
    pub(crate) Atoms: AtomsCookie {
        _GTK_FRAME_EXTENTS,
        _NET_ACTIVE_WINDOW,
        _NET_CLIENT_LIST,
        _NET_CURRENT_DESKTOP,
        _NET_FRAME_EXTENTS,
        _NET_WM_NAME,
        _NET_WM_PID,
        _NET_WORKAREA,
    }
}

/// A connection to the X server. Each call waits for the server's answer.
pub(crate) struct XServer {
    connection: RustConnection,
    pub(crate) root: Window,
    root_frame: Rect,
    /// The screen's resolution as the server reports it, in dots per inch.
    root_dpi: f64,
    pub(crate) atoms: Atoms,
}

impl XServer {
    /// Connects to the server in `DISPLAY`.
    ///
    /// # Errors
    /// There is no such server, or it refuses the connection.
    pub(crate) fn connect() -> Result<Self, Box<dyn Error>> {
        let (connection, number) = x11rb::connect(None)?;
        let atoms = Atoms::new(&connection)?.reply()?;
        let screen = &connection.setup().roots[number];
        let root = screen.root;
        let root_frame = Rect {
            x: 0,
            y: 0,
            width: screen.width_in_pixels.into(),
            height: screen.height_in_pixels.into(),
        };
        let millimeters = f64::from(screen.height_in_millimeters.max(1));
        let root_dpi = f64::from(screen.height_in_pixels) * 25.4 / millimeters;
        Ok(Self {
            connection,
            root,
            root_frame,
            root_dpi,
            atoms,
        })
    }

    /// The 32-bit values of a window's property; empty if the window or the property does not
    /// exist.
    pub(crate) fn values(&self, window: Window, property: Atom) -> Vec<u32> {
        let reply = self.property(window, property);
        let values = reply.and_then(|reply| Some(reply.value32()?.collect()));
        values.unwrap_or_default()
    }

    /// The title of a window; empty if there is none. Bytes that are not UTF-8, which an older
    /// program may have set, are replaced.
    pub(crate) fn title(&self, window: Window) -> String {
        [self.atoms._NET_WM_NAME, AtomEnum::WM_NAME.into()]
            .into_iter()
            .filter_map(|property| self.property(window, property))
            .map(|reply| String::from_utf8_lossy(&reply.value).into_owned())
            .find(|title| !title.is_empty())
            .unwrap_or_default()
    }

    fn property(&self, window: Window, property: Atom) -> Option<GetPropertyReply> {
        let any = AtomEnum::ANY;
        let request = self
            .connection
            .get_property(false, window, property, any, 0, MAX_VALUES);
        request.ok()?.reply().ok()
    }

    /// The windows that the window manager manages, in the order in which they appeared.
    pub(crate) fn windows(&self) -> Vec<Window> {
        self.values(self.root, self.atoms._NET_CLIENT_LIST)
    }

    /// The window that has the keyboard focus. `None` if there is none, or if the window manager
    /// does not report it.
    pub(crate) fn active(&self) -> Option<Window> {
        let active = self.values(self.root, self.atoms._NET_ACTIVE_WINDOW);
        active.first().copied().filter(|window| *window != 0)
    }

    /// The process ID that a window's program has set, or `None` if it has set none.
    pub(crate) fn process(&self, window: Window) -> Option<i32> {
        let pid = self.values(window, self.atoms._NET_WM_PID);
        pid.first().and_then(|pid| i32::try_from(*pid).ok())
    }

    pub(crate) fn parent(&self, window: Window) -> Option<Window> {
        let tree = self.connection.query_tree(window).ok()?.reply().ok()?;
        Some(tree.parent).filter(|parent| *parent != 0)
    }

    /// The position and size of a window with its decoration. `None` if the window is not visible.
    pub(crate) fn frame(&self, window: Window) -> Option<Rect> {
        let connection = &self.connection;
        let attributes = connection
            .get_window_attributes(window)
            .ok()?
            .reply()
            .ok()?;
        if attributes.map_state != MapState::VIEWABLE {
            return None;
        }
        let size = connection.get_geometry(window).ok()?.reply().ok()?;
        let origin = connection
            .translate_coordinates(window, self.root, 0, 0)
            .ok()?
            .reply()
            .ok()?;
        // The values of `_NET_FRAME_EXTENTS` and `_GTK_FRAME_EXTENTS` have the order left, right,
        // top, bottom.
        let extents = |property| match self.values(window, property)[..] {
            [left, right, top, bottom] => {
                [left, right, top, bottom].map(|extent| i32::try_from(extent).unwrap_or(0))
            }
            _ => [0; 4],
        };
        let outer = extents(self.atoms._NET_FRAME_EXTENTS);
        let shadow = extents(self.atoms._GTK_FRAME_EXTENTS);
        let [left, right, top, bottom] = [0, 1, 2, 3].map(|side| outer[side] - shadow[side]);
        let (x, y) = (i32::from(origin.dst_x), i32::from(origin.dst_y));
        // A window manager removes the window's own border, so that there is either a border or a
        // frame.
        let border = i32::from(size.border_width);
        Rect::between(
            x - left - border,
            y - top - border,
            x + i32::from(size.width) + right + border,
            y + i32::from(size.height) + bottom + border,
        )
    }

    /// The resolution for which emulators scale their text, in dots per inch. This is the X
    /// resource `Xft.dpi`, which desktops set, or else the resolution that the server reports.
    pub(crate) fn dpi(&self) -> f64 {
        let resources = self.property(self.root, AtomEnum::RESOURCE_MANAGER.into());
        let resources = resources.map_or_else(Vec::new, |reply| reply.value);
        let resources = String::from_utf8_lossy(&resources);
        let mut values = resources
            .lines()
            .filter_map(|line| line.strip_prefix("Xft.dpi:"));
        let set = values.find_map(|value| value.trim().parse().ok());
        set.unwrap_or(self.root_dpi)
    }

    /// The areas of the monitors, with the primary one first. If the server lists no monitors,
    /// returns the area of the whole screen.
    pub(crate) fn monitors(&self) -> Vec<Rect> {
        let monitors = self.connection.randr_get_monitors(self.root, true);
        let monitors = monitors.ok().and_then(|cookie| cookie.reply().ok());
        let mut monitors = monitors.map_or_else(Vec::new, |reply| reply.monitors);
        monitors.sort_by_key(|monitor| !monitor.primary);
        let frames = monitors.iter().map(|monitor| Rect {
            x: monitor.x.into(),
            y: monitor.y.into(),
            width: monitor.width.into(),
            height: monitor.height.into(),
        });
        let whole = monitors.is_empty().then_some(self.root_frame);
        frames.chain(whole).collect()
    }

    /// The part of the screen that the desktop's panels leave free on the current desktop.
    pub(crate) fn work_area(&self) -> Option<Rect> {
        let desktop = self.values(self.root, self.atoms._NET_CURRENT_DESKTOP);
        let desktop = desktop.first().map_or(0, |desktop| *desktop as usize);
        let areas = self.values(self.root, self.atoms._NET_WORKAREA);
        // `_NET_WORKAREA` has four values for each desktop. If it has none for the current desktop,
        // take the values for the first, because some window managers set no others.
        let area = areas
            .chunks_exact(4)
            .nth(desktop)
            .or_else(|| areas.get(..4))?;
        let [x, y, width, height] =
            [0, 1, 2, 3].map(|index| i32::try_from(area[index]).unwrap_or(0));
        Rect::between(x, y, x + width, y + height)
    }

    /// Makes the server report changes of a window's properties. The properties of the root window
    /// include the active window and the list of windows.
    pub(crate) fn watch(&self, window: Window) {
        let events = ChangeWindowAttributesAux::new().event_mask(EventMask::PROPERTY_CHANGE);
        // Ignore an error, which means that the window has closed.
        let _ = self.connection.change_window_attributes(window, &events);
        let _ = self.connection.flush();
    }

    /// Gives a window the keyboard focus, without raising the window.
    pub(crate) fn focus(&self, window: Window) {
        // Ignore an error, which means that the window has closed or is not visible.
        let _ = self
            .connection
            .set_input_focus(InputFocus::PARENT, window, x11rb::CURRENT_TIME);
        let _ = self.connection.flush();
    }

    /// Discards all events that have arrived. Returns whether there were any, or `None` if the
    /// connection is lost.
    pub(crate) fn take_events(&self) -> Option<bool> {
        let mut any = false;
        while self.connection.poll_for_event().ok()?.is_some() {
            any = true;
        }
        Some(any)
    }

    /// The descriptor that becomes readable when an event arrives.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.connection.stream().as_fd()
    }
}
