//! Tests of the proxy.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
};

use super::*;
use crate::harness::wait_until;

/// Starts a server that answers each connection with `answer`, and sends all bytes that it received to the channel.
fn server(answer: Vec<u8>) -> (SocketAddr, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (received, receiver) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer, received) =
                (stream.unwrap(), answer.clone(), received.clone());
            thread::spawn(move || {
                // A connection that is cut off gets less.
                drop(stream.write_all(&answer));
                let mut bytes = Vec::new();
                drop(stream.read_to_end(&mut bytes));
                drop(received.send(bytes));
            });
        }
    });
    (address, receiver)
}

fn always(bytes: u64, fault: Fault) -> FaultPlan {
    FaultPlan::Always(FaultEvent {
        bytes,
        time: Duration::from_secs(60),
        fault,
        everywhere: false,
    })
}

/// A proxy with at most one fault, in front of a server that sends ten letters.
fn ten_letters(fault: Fault) -> (Proxy, mpsc::Receiver<Vec<u8>>) {
    let (address, receiver) = server(b"abcdefghij".to_vec());
    let proxy = Proxy::start(address, always(4, fault), 1, Duration::ZERO);
    proxy.switch().enable();
    (proxy, receiver)
}

/// The text that a client reads, and the error that ends it.
fn read(proxy: &Proxy) -> (String, Option<ErrorKind>) {
    let mut stream = TcpStream::connect(proxy.address).unwrap();
    // The server ends a connection after its client.
    read_from(&mut stream)
}

fn read_from(stream: &mut TcpStream) -> (String, Option<ErrorKind>) {
    let mut text = [0; 10];
    let mut length = 0;
    while length < 10 {
        match stream.read(&mut text[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) => return (text_of(&text[..length]), Some(error.kind())),
        }
    }
    (text_of(&text[..length]), None)
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn whole() -> (String, Option<ErrorKind>) {
    ("abcdefghij".to_owned(), None)
}

#[test]
fn a_proxy_without_faults_forwards_both_directions() {
    let answer: Vec<u8> = (0..64u32 << 20).map(|i| (i ^ i >> 11) as u8).collect();
    let (address, receiver) = server(answer.clone());
    let proxy = Proxy::start(address, always(4, Fault::Reset), 6, Duration::ZERO);
    let mut stream = TcpStream::connect(proxy.address).unwrap();
    let mut received = vec![0; answer.len()];
    stream.read_exact(&mut received).unwrap();
    assert!(received == answer, "64 MiB came out otherwise");
    stream.write_all(b"thank you").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(receiver.recv().unwrap(), b"thank you");
    // The server then ends, and the proxy forwards that.
    assert_eq!(stream.read(&mut received).unwrap(), 0);
    assert_eq!((proxy.counts().connections, proxy.counts().total()), (1, 0));
}

#[test]
fn a_connection_is_cut_once_after_an_exact_number_of_bytes() {
    for (fault, end) in [
        (Fault::Close, None),
        (Fault::Reset, Some(ErrorKind::ConnectionReset)),
    ] {
        let (proxy, receiver) = ten_letters(fault);
        let (text, ended) = read(&proxy);
        // A reset may overtake the bytes before it.
        assert!(text == "abcd" || end.is_some() && text.is_empty(), "{text}");
        assert_eq!(ended, end, "{fault:?}");
        assert_eq!(receiver.recv().unwrap(), b"");
        assert_eq!(read(&proxy), whole(), "there may be one fault only");
        assert_eq!(proxy.counts().faults, BTreeMap::from([(fault.name(), 1)]));
    }
}

#[test]
fn a_half_closed_connection_still_forwards_to_the_server() {
    let (proxy, receiver) = ten_letters(Fault::HalfClose);
    let mut stream = TcpStream::connect(proxy.address).unwrap();
    assert_eq!(read_from(&mut stream), ("abcd".to_owned(), None));
    stream.write_all(b"still here").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(receiver.recv().unwrap(), b"still here");
}

#[test]
fn a_stall_ends_with_the_rest_or_with_a_reset_or_when_faults_are_disabled() {
    let stall = |time, then_reset| Fault::Stall { time, then_reset };
    let short = Duration::from_millis(100);
    let (proxy, _) = ten_letters(stall(short, false));
    let start = Instant::now();
    assert_eq!(read(&proxy), whole());
    assert!(start.elapsed() >= short, "{:?}", start.elapsed());

    let (proxy, _) = ten_letters(stall(short, true));
    assert_eq!(
        read(&proxy),
        ("abcd".to_owned(), Some(ErrorKind::ConnectionReset))
    );

    let (proxy, _) = ten_letters(stall(Duration::from_secs(60), true));
    let reader = thread::scope(|scope| {
        let reader = scope.spawn(|| read(&proxy));
        wait_until("the stall has begun", || proxy.counts().total() == 1);
        proxy.switch().disable();
        reader.join().unwrap()
    });
    assert_eq!(reader, whole());
}

#[test]
fn a_delay_loses_nothing() {
    let (time, each) = (Duration::from_millis(300), Duration::from_millis(50));
    let (proxy, _) = ten_letters(Fault::Delay { time, each });
    let start = Instant::now();
    assert_eq!(read(&proxy), whole());
    assert!(start.elapsed() >= each, "{:?}", start.elapsed());
}

#[test]
fn a_proxy_refuses_connections_until_faults_are_disabled() {
    let time = Duration::from_secs(60);
    let (proxy, _) = ten_letters(Fault::Refuse { time });
    assert_eq!(read(&proxy).1, Some(ErrorKind::ConnectionReset));
    assert_eq!(
        read(&proxy),
        (String::new(), Some(ErrorKind::ConnectionReset))
    );
    assert_eq!(proxy.counts().refused, 1);
    proxy.switch().disable();
    assert_eq!(read(&proxy), whole());
}

#[test]
fn a_fault_everywhere_affects_idle_connections() {
    let (address, _hearing) = server(b"abcdefghij".to_vec());
    let event = FaultEvent {
        bytes: 4,
        time: Duration::from_secs(60),
        fault: Fault::Close,
        everywhere: true,
    };
    let proxy = Proxy::start(address, FaultPlan::Always(event), 1, Duration::ZERO);
    let mut idle = TcpStream::connect(proxy.address).unwrap();
    assert_eq!(read_from(&mut idle), whole());
    proxy.switch().enable();
    let mut broken = TcpStream::connect(proxy.address).unwrap();
    assert_eq!(read_from(&mut broken), ("abcd".to_owned(), None));
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    assert_eq!(proxy.counts().total(), 1);
}

#[test]
fn a_callback_is_called_once_after_a_number_of_bytes() {
    let (address, _hearing) = server(b"abcdefghij".to_vec());
    let proxy = Proxy::start(address, FaultPlan::Seeded(1), 6, Duration::ZERO);
    let (call, called) = mpsc::channel();
    proxy.after_bytes(11, move || call.send(()).unwrap());
    assert_eq!(read(&proxy), whole());
    assert!(called.try_recv().is_err(), "it was called too early");
    assert_eq!(read(&proxy), whole());
    assert!(called.recv().is_ok());
}

#[test]
fn without_a_server_there_is_no_connection() {
    let (address, _) = server(Vec::new());
    let proxy = Proxy::start(address, FaultPlan::Seeded(1), 6, Duration::ZERO);
    let absent = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_target(absent.local_addr().unwrap());
    drop(absent);
    assert_eq!(
        read(&proxy),
        (String::new(), Some(ErrorKind::ConnectionReset))
    );
}

#[test]
fn a_seed_determines_the_faults_of_each_connection() {
    let draw = |seed, connection| -> Vec<FaultEvent> {
        let mut events = FaultPlan::Seeded(seed).events(connection);
        (0..20).map(|_| events.draw()).collect()
    };
    assert_eq!(draw(1, 0), draw(1, 0));
    assert_ne!(draw(1, 0), draw(1, 1));
    assert_ne!(draw(1, 0), draw(2, 0));
    let kinds: std::collections::BTreeSet<_> = (0..10)
        .flat_map(|seed| draw(seed, 0))
        .map(|event| event.fault.name())
        .collect();
    assert_eq!(kinds.len(), 6, "{kinds:?}");
}
