//! `k8s-cli dial-stdio`: copies between its streams and the socket of a server. ssh runs it for a client on another machine.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::Shutdown,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    thread,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

use crate::{
    api::path::{OWN_SOCKET, SOCKET},
    cli::DialStdioArgs,
    client::{Context, Error, Exit, config::Env},
};

/// Copies until the server closes the connection.
pub fn run(context: &mut Context<'_>, args: DialStdioArgs) -> Result<Exit, Error> {
    let path = args.socket.unwrap_or_else(|| default_socket(context.env));
    let cannot = |source| Error::file("connect to", &path, source);
    let server = UnixStream::connect(&path).map_err(cannot)?;
    let mut to_server = server.try_clone().map_err(cannot)?;
    // The standard library's own stdout waits for the end of a line.
    let duplicate = |stream: &dyn AsFd| stream.as_fd().try_clone_to_owned();
    let streams = duplicate(&io::stdin()).and_then(|input| Ok((input, duplicate(&io::stdout())?)));
    let (mut input, mut output): (File, File) = streams
        .map(|(input, output): (OwnedFd, OwnedFd)| (input.into(), output.into()))
        .map_err(Error::Output)?;
    let reader = duplicate(&io::stdout()).map_err(Error::Output)?;
    thread::spawn(move || {
        drop(copy(&mut input, &mut to_server));
        // The answer may still come, if somebody reads it. The server takes an end of the connection, even of one direction, for that
        // of the client.
        wait_until_closed(&reader);
        drop(to_server.shutdown(Shutdown::Both));
    });
    copy(&mut &server, &mut output).map_err(Error::Output)?;
    Ok(Exit::Done)
}

/// Copies to the end. For files and sockets the standard library would use `splice`, which holds the lock of a pipe while it waits for
/// the next bytes: whoever reads the pipe, as sshd does, or writes to it too, would wait with it.
fn copy(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<u64> {
    io::copy(from, to)
}

/// Waits until nobody can read what is written to a pipe or a socket.
fn wait_until_closed(stream: &OwnedFd) {
    let mut polled = [PollFd::new(stream, PollFlags::empty())];
    while poll(&mut polled, None) == Err(Errno::INTR) {}
}

/// The socket of the machine, else that of its user.
fn default_socket(env: Env<'_>) -> PathBuf {
    let own = env("XDG_RUNTIME_DIR").map(|directory| Path::new(&directory).join(OWN_SOCKET));
    let machine = PathBuf::from(SOCKET);
    match own {
        Some(own) if !machine.exists() => own,
        _ => machine,
    }
}
