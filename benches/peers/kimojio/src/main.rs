//! kimojio: its defaults, which sleep instead of polling, and rings of a single issuer.

use std::cell::{Cell, RefCell};
use std::os::fd::{FromRawFd, OwnedFd};
use std::rc::Rc;

use common::{Channel, Closed, Reads, arguments, buffers, unknown};
use kimojio::configuration::Configuration;
use kimojio::operations;

async fn serve(socket: OwnedFd, size: usize, closed: Rc<RefCell<Closed>>) {
    let mut buffer = vec![0; size];
    loop {
        let received = operations::read(&socket, &mut buffer).await.expect("read");
        if received == 0 {
            break;
        }
        let mut sent = 0;
        while sent < received {
            sent += operations::write(&socket, &buffer[sent..received]).await.expect("write");
        }
    }
    operations::close(socket).await.expect("close");
    closed.borrow_mut().one();
}

async fn echo(listener: u64, connections: u64, size: u64) {
    // SAFETY: the listener was inherited for this program alone.
    let listener = unsafe { OwnedFd::from_raw_fd(listener as i32) };
    let closed = Rc::new(RefCell::new(Closed::new(connections)));
    loop {
        let socket = operations::accept(&listener).await.expect("accept");
        operations::spawn_task(serve(socket, size as usize, closed.clone()));
    }
}

async fn read_chain(file: Rc<OwnedFd>, reads: Rc<RefCell<Reads>>, buffer: &mut [u8]) {
    loop {
        let Some(offset) = reads.borrow_mut().next(buffer) else { return };
        let result = operations::pread(&*file, buffer, offset).await.expect("pread");
        reads.borrow_mut().done(offset, result, buffer);
    }
}

async fn reads(channel: u64, file: u64, blocks: u64, depth: u64, count: u64) {
    let mut channel = Channel::new(channel);
    // SAFETY: the file was inherited for this program alone.
    let file = Rc::new(unsafe { OwnedFd::from_raw_fd(file as i32) });
    let reads = Rc::new(RefCell::new(Reads::new(blocks)));
    for (count, whole) in [(count / 10, true), (count, false)] {
        reads.borrow_mut().begin(count, whole);
        let start =
            |buffer| operations::spawn_task(read_chain(file.clone(), reads.clone(), buffer));
        for chain in buffers(depth).into_iter().map(start).collect::<Vec<_>>() {
            chain.await.expect("a chain of reads");
        }
        reads.borrow().end();
        channel.stop();
    }
}

async fn nop_chain(unstarted: Rc<Cell<u64>>, completed: Rc<Cell<u64>>) {
    while unstarted.get() > 0 {
        unstarted.set(unstarted.get() - 1);
        operations::nop().await.expect("nop");
        completed.set(completed.get() + 1);
    }
}

async fn nop(channel: u64, depth: u64, count: u64) {
    let mut channel = Channel::new(channel);
    for count in [count / 10, count] {
        let (unstarted, completed) = (Rc::new(Cell::new(count)), Rc::new(Cell::new(0)));
        let start = |_| operations::spawn_task(nop_chain(unstarted.clone(), completed.clone()));
        for chain in (0..depth).map(start).collect::<Vec<_>>() {
            chain.await.expect("a chain of operations");
        }
        assert_eq!(completed.get(), count);
        channel.stop();
    }
}

async fn run(workload: String, numbers: Vec<u64>) {
    match (&*workload, &numbers[..]) {
        ("echo", &[listener, connections, size]) => echo(listener, connections, size).await,
        ("reads", &[channel, file, blocks, depth, count]) => {
            reads(channel, file, blocks, depth, count).await
        }
        ("nop", &[channel, depth, count]) => nop(channel, depth, count).await,
        _ => unknown(&workload),
    }
    std::process::exit(0);
}

fn main() {
    let (workload, numbers) = arguments();
    let _ = kimojio::run_with_configuration(0, run(workload, numbers), Configuration::new());
    // Only a panic, which kimojio catches, comes here.
    std::process::exit(1);
}
