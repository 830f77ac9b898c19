//! The proxy does to a connection what it says that it does.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
};

use super::*;
use crate::harness::wait_until;

/// Answers each connection with `answer`, and hands out what each said until it ended.
fn server(answer: Vec<u8>) -> (SocketAddr, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (heard, hearing) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer, heard) = (stream.unwrap(), answer.clone(), heard.clone());
            thread::spawn(move || {
                // A client that is cut off hears less.
                drop(stream.write_all(&answer));
                let mut said = Vec::new();
                drop(stream.read_to_end(&mut said));
                drop(heard.send(said));
            });
        }
    });
    (address, hearing)
}

fn always(bytes: u64, fault: Fault) -> FaultPlan {
    FaultPlan::Always(Strike {
        bytes,
        time: Duration::from_secs(60),
        fault,
        everywhere: false,
    })
}

/// A proxy that may have one fault, before a server that says ten letters.
fn ten_letters(fault: Fault) -> (Proxy, mpsc::Receiver<Vec<u8>>) {
    let (address, hearing) = server(b"abcdefghij".to_vec());
    let proxy = Proxy::start(address, always(4, fault), 1, Duration::ZERO);
    proxy.switch().unleash();
    (proxy, hearing)
}

/// What a client gets to read, and how that ended.
fn read(proxy: &Proxy) -> (String, Option<ErrorKind>) {
    let mut stream = TcpStream::connect(proxy.address).unwrap();
    // The server ends a connection when its client does.
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
fn everything_passes_in_both_directions_while_it_is_calm() {
    let answer: Vec<u8> = (0..64u32 << 20).map(|i| (i ^ i >> 11) as u8).collect();
    let (address, hearing) = server(answer.clone());
    let proxy = Proxy::start(address, always(4, Fault::Reset), 6, Duration::ZERO);
    let mut stream = TcpStream::connect(proxy.address).unwrap();
    let mut received = vec![0; answer.len()];
    stream.read_exact(&mut received).unwrap();
    assert!(received == answer, "64 MiB came out otherwise");
    stream.write_all(b"thank you").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(hearing.recv().unwrap(), b"thank you");
    // The server ends then, and that comes through too.
    assert_eq!(stream.read(&mut received).unwrap(), 0);
    assert_eq!((proxy.counts().connections, proxy.counts().total()), (1, 0));
}

#[test]
fn a_cut_comes_after_exactly_so_many_bytes_and_once() {
    for (fault, end) in [
        (Fault::Close, None),
        (Fault::Reset, Some(ErrorKind::ConnectionReset)),
    ] {
        let (proxy, hearing) = ten_letters(fault);
        let (text, ended) = read(&proxy);
        // A reset may overtake the bytes before it.
        assert!(text == "abcd" || end.is_some() && text.is_empty(), "{text}");
        assert_eq!(ended, end, "{fault:?}");
        assert_eq!(hearing.recv().unwrap(), b"");
        assert_eq!(read(&proxy), whole(), "there may be one fault only");
        assert_eq!(proxy.counts().faults, BTreeMap::from([(fault.name(), 1)]));
    }
}

#[test]
fn a_server_that_is_half_closed_can_still_be_talked_to() {
    let (proxy, hearing) = ten_letters(Fault::HalfClose);
    let mut stream = TcpStream::connect(proxy.address).unwrap();
    assert_eq!(read_from(&mut stream), ("abcd".to_owned(), None));
    stream.write_all(b"still here").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(hearing.recv().unwrap(), b"still here");
}

#[test]
fn a_stall_ends_with_the_rest_or_with_a_reset_or_with_calm_weather() {
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
        proxy.switch().calm();
        reader.join().unwrap()
    });
    assert_eq!(reader, whole());
}

#[test]
fn what_is_late_is_whole() {
    let (time, each) = (Duration::from_millis(300), Duration::from_millis(50));
    let (proxy, _) = ten_letters(Fault::Delay { time, each });
    let start = Instant::now();
    assert_eq!(read(&proxy), whole());
    assert!(start.elapsed() >= each, "{:?}", start.elapsed());
}

#[test]
fn who_refuses_does_so_until_the_weather_is_calm() {
    let time = Duration::from_secs(60);
    let (proxy, _) = ten_letters(Fault::Refuse { time });
    assert_eq!(read(&proxy).1, Some(ErrorKind::ConnectionReset));
    assert_eq!(
        read(&proxy),
        (String::new(), Some(ErrorKind::ConnectionReset))
    );
    assert_eq!(proxy.counts().refused, 1);
    proxy.switch().calm();
    assert_eq!(read(&proxy), whole());
}

#[test]
fn a_strike_everywhere_meets_the_idle_connections_too() {
    let (address, _hearing) = server(b"abcdefghij".to_vec());
    let strike = Strike {
        bytes: 4,
        time: Duration::from_secs(60),
        fault: Fault::Close,
        everywhere: true,
    };
    let proxy = Proxy::start(address, FaultPlan::Always(strike), 1, Duration::ZERO);
    let mut idle = TcpStream::connect(proxy.address).unwrap();
    assert_eq!(read_from(&mut idle), whole());
    proxy.switch().unleash();
    let mut struck = TcpStream::connect(proxy.address).unwrap();
    assert_eq!(read_from(&mut struck), ("abcd".to_owned(), None));
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    assert_eq!(proxy.counts().total(), 1);
}

#[test]
fn an_alarm_rings_once_so_many_bytes_have_passed() {
    let (address, _hearing) = server(b"abcdefghij".to_vec());
    let proxy = Proxy::start(address, FaultPlan::Seeded(1), 6, Duration::ZERO);
    let (ring, rung) = mpsc::channel();
    proxy.after_bytes(11, move || ring.send(()).unwrap());
    assert_eq!(read(&proxy), whole());
    assert!(rung.try_recv().is_err(), "it rang too early");
    assert_eq!(read(&proxy), whole());
    assert!(rung.recv().is_ok());
}

#[test]
fn without_a_server_there_is_no_connection() {
    let (address, _) = server(Vec::new());
    let proxy = Proxy::start(address, FaultPlan::Seeded(1), 6, Duration::ZERO);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_target(nobody.local_addr().unwrap());
    drop(nobody);
    assert_eq!(
        read(&proxy),
        (String::new(), Some(ErrorKind::ConnectionReset))
    );
}

#[test]
fn a_seed_says_what_happens_to_each_connection() {
    let draw = |seed, connection| -> Vec<Strike> {
        let mut strikes = FaultPlan::Seeded(seed).strikes(connection);
        (0..20).map(|_| strikes.draw()).collect()
    };
    assert_eq!(draw(1, 0), draw(1, 0));
    assert_ne!(draw(1, 0), draw(1, 1));
    assert_ne!(draw(1, 0), draw(2, 0));
    let kinds: std::collections::BTreeSet<_> = (0..10)
        .flat_map(|seed| draw(seed, 0))
        .map(|strike| strike.fault.name())
        .collect();
    assert_eq!(kinds.len(), 6, "{kinds:?}");
}
