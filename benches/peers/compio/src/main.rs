//! compio: its io_uring driver, with the flags of the ring that measure best, and 1,024 entries.

use std::cell::{Cell, RefCell};
use std::net::TcpListener as StdListener;
use std::os::fd::FromRawFd;
use std::rc::Rc;

use common::{Channel, Closed, Reads, arguments, buffers, unknown};
use compio::BufResult;
use compio::driver::{OpCode, OpEntry, ProactorBuilder};
use compio::fs::File;
use compio::io::{AsyncRead, AsyncReadAt, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::{Runtime, RuntimeBuilder};

async fn serve(mut stream: TcpStream, size: usize, closed: Rc<RefCell<Closed>>) {
    let mut buffer: Vec<u8> = Vec::with_capacity(size);
    loop {
        let BufResult(received, read) = stream.read(buffer).await;
        if received.expect("read") == 0 {
            break;
        }
        let BufResult(written, sent) = stream.write_all(read).await;
        written.expect("write");
        buffer = sent;
        buffer.clear();
    }
    stream.close().await.expect("close");
    closed.borrow_mut().one();
}

async fn echo(listener: u64, connections: u64, size: u64) {
    // SAFETY: the listener was inherited for this program alone.
    let listener = unsafe { StdListener::from_raw_fd(listener as i32) };
    let listener = TcpListener::from_std(listener).expect("listener");
    let closed = Rc::new(RefCell::new(Closed::new(connections)));
    loop {
        let (stream, _) = listener.accept().await.expect("accept");
        compio::runtime::spawn(serve(stream, size as usize, closed.clone())).detach();
    }
}

async fn read_chain(file: Rc<File>, reads: Rc<RefCell<Reads>>, mut buffer: &'static mut [u8]) {
    loop {
        let Some(offset) = reads.borrow_mut().next(buffer) else { return };
        let BufResult(result, read) = file.read_at(buffer, offset).await;
        buffer = read;
        reads.borrow_mut().done(offset, result.expect("read_at"), buffer);
    }
}

async fn reads(channel: u64, file: u64, blocks: u64, depth: u64, count: u64) {
    let mut channel = Channel::new(channel);
    // SAFETY: the file was inherited for this program alone.
    let file = unsafe { File::from_raw_fd(file as i32) };
    let file = Rc::new(file);
    let reads = Rc::new(RefCell::new(Reads::new(blocks)));
    for (count, whole) in [(count / 10, true), (count, false)] {
        reads.borrow_mut().begin(count, whole);
        let start =
            |buffer| compio::runtime::spawn(read_chain(file.clone(), reads.clone(), buffer));
        for chain in buffers(depth).into_iter().map(start).collect::<Vec<_>>() {
            chain.await.expect("a chain of reads");
        }
        reads.borrow().end();
        channel.stop();
    }
}

/// compio has no NOP of its own; this is how a program adds an operation.
struct Nop;

// SAFETY: the entry refers to no memory.
unsafe impl OpCode for Nop {
    type Control = ();

    fn create_entry(&mut self, _: &mut ()) -> OpEntry {
        io_uring::opcode::Nop::new().build().into()
    }
}

async fn nop_chain(unstarted: Rc<Cell<u64>>, completed: Rc<Cell<u64>>) {
    while unstarted.get() > 0 {
        unstarted.set(unstarted.get() - 1);
        let BufResult(result, Nop) = compio::runtime::submit(Nop).await;
        assert_eq!(result.expect("nop"), 0);
        completed.set(completed.get() + 1);
    }
}

async fn nop(channel: u64, depth: u64, count: u64) {
    let mut channel = Channel::new(channel);
    for count in [count / 10, count] {
        let (unstarted, completed) = (Rc::new(Cell::new(count)), Rc::new(Cell::new(0)));
        let start = |_| compio::runtime::spawn(nop_chain(unstarted.clone(), completed.clone()));
        for chain in (0..depth).map(start).collect::<Vec<_>>() {
            chain.await.expect("a chain of operations");
        }
        assert_eq!(completed.get(), count);
        channel.stop();
    }
}

fn runtime() -> std::io::Result<Runtime> {
    let mut proactor = ProactorBuilder::new();
    proactor.capacity(1024).single_issuer(true).defer_taskrun(true).taskrun_flag(true);
    RuntimeBuilder::new().with_proactor(proactor).build()
}

fn main() {
    let (workload, numbers) = arguments();
    runtime().expect("runtime").block_on(async {
        match (&*workload, &numbers[..]) {
            ("echo", &[listener, connections, size]) => echo(listener, connections, size).await,
            ("reads", &[channel, file, blocks, depth, count]) => {
                reads(channel, file, blocks, depth, count).await
            }
            ("nop", &[channel, depth, count]) => nop(channel, depth, count).await,
            _ => unknown(&workload),
        }
    });
    std::process::exit(0);
}
