//! A SOCKS5 proxy without authentication (RFC 1928) that connects every request to one agent.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// A proxy on loopback: its address, and the names and ports that were requested.
pub struct Socks {
    pub address: String,
    asked: Receiver<String>,
}

impl Socks {
    /// Connects every request to this address (`host:port`); without one, refuses all.
    pub fn to(agent: Option<String>) -> Socks {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("socks5h://{}", listener.local_addr().expect("an address"));
        let (tell, asked) = channel();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (tell, agent) = (tell.clone(), agent.clone());
                thread::spawn(move || pass(client, agent.as_deref(), |name| drop(tell.send(name))));
            }
        });
        Socks { address, asked }
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.try_iter().collect()
    }
}

fn pass(mut client: TcpStream, agent: Option<&str>, tell: impl FnOnce(String)) -> io::Result<()> {
    let bytes = |client: &mut TcpStream, n: u8| -> io::Result<Vec<u8>> {
        let mut read = vec![0; usize::from(n)];
        client.read_exact(&mut read)?;
        Ok(read)
    };
    let greeting = bytes(&mut client, 2)?;
    bytes(&mut client, greeting[1])?;
    client.write_all(&[5, 0])?;
    // Version, CONNECT, reserved, domain name: with socks5h, the proxy resolves it.
    assert_eq!(bytes(&mut client, 4)?, [5, 1, 0, 3]);
    let length = bytes(&mut client, 1)?[0];
    let name = String::from_utf8(bytes(&mut client, length)?).map_err(io::Error::other)?;
    let port = bytes(&mut client, 2)?;
    tell(format!("{name}:{}", u16::from_be_bytes([port[0], port[1]])));
    let Some(agent) = agent else {
        // Connection not allowed by ruleset.
        return client.write_all(&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]);
    };
    let mut agent = TcpStream::connect(agent)?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    let (mut there, mut back) = (client.try_clone()?, agent.try_clone()?);
    let forth = thread::spawn(move || io::copy(&mut there, &mut back));
    io::copy(&mut agent, &mut client)?;
    forth.join().map_err(|_| io::Error::other("a thread has died"))?.map(drop)
}
