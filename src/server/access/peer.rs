//! The other end of a connection, as the kernel knows it.

use std::{any::Any, fmt, net::IpAddr};

use actix_web::{
    dev::{Extensions, ServiceRequest},
    rt::net::UnixStream,
};

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Peer {
    Address(IpAddr),
    /// A process of this machine, over the socket.
    Process {
        uid: u32,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.to_canonical().fmt(f),
            Self::Process { uid } => write!(f, "uid:{uid}"),
        }
    }
}

impl Peer {
    /// Notes the peer of a connection over a socket that was accepted. actix notes addresses.
    pub fn note(connection: &dyn Any, noted: &mut Extensions) {
        let stream = connection.downcast_ref::<UnixStream>();
        if let Some(Ok(peer)) = stream.map(UnixStream::peer_cred) {
            noted.insert(Self::Process { uid: peer.uid() });
        }
    }

    /// The peer of a request.
    pub fn of(request: &ServiceRequest) -> Option<Self> {
        let address = || {
            request
                .peer_addr()
                .map(|address| Self::Address(address.ip()))
        };
        request.conn_data::<Self>().cloned().or_else(address)
    }

    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Process { .. } => None,
        }
    }
}
