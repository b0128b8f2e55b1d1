//! A chat server as most would write it today: a tokio task and an unbounded channel for each
//! client.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc::{self, UnboundedSender};

type Members = HashMap<usize, UnboundedSender<Arc<str>>>;

/// The members. Recipients share a message; it is not copied for each of them.
#[derive(Clone, Default)]
struct Room(Arc<Mutex<Members>>);

impl Room {
    fn with<T>(&self, act: impl FnOnce(&mut Members) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn say(&self, from: usize, message: &Arc<str>) {
        self.with(|members| {
            for (_, member) in members.iter().filter(|(id, _)| **id != from) {
                // An error means that the member's task is ending.
                let _ = member.send(Arc::clone(message));
            }
        });
    }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok());
    let port: u16 = port.ok_or_else(|| io::Error::other("usage: tokio-peer PORT"))?;
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    let listener = socket.listen(4096)?;
    let room = Room::default();
    for id in 0.. {
        let (socket, _) = listener.accept().await?;
        let room = room.clone();
        tokio::spawn(async move {
            // An error ends only this client.
            let _ = serve(socket, id, &room).await;
            room.with(|members| members.remove(&id));
        });
    }
    Ok(())
}

async fn serve(socket: TcpStream, id: usize, room: &Room) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let (reading, mut writing) = socket.into_split();
    let mut lines = BufReader::new(reading).lines();
    let Some(name) = lines.next_line().await? else {
        return Ok(());
    };
    let (queue, mut queued) = mpsc::unbounded_channel();
    room.with(|members| members.insert(id, queue));
    writing.write_all(b"* welcome\n").await?;
    loop {
        tokio::select! {
            Some(message) = queued.recv() => writing.write_all(message.as_bytes()).await?,
            line = lines.next_line() => match line? {
                Some(line) => room.say(id, &format!("{name}: {line}\n").into()),
                None => return Ok(()),
            },
        }
    }
}
