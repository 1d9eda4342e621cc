//! monoio: its io_uring driver, with the flags of the ring that measure best, and 1,024 entries.

use std::cell::RefCell;
use std::net::TcpListener as StdListener;
use std::os::fd::FromRawFd;
use std::rc::Rc;

use common::{BLOCK, Channel, Closed, Reads, arguments, buffers, unknown};
use monoio::fs::File;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};

async fn serve(mut stream: TcpStream, size: usize, closed: Rc<RefCell<Closed>>) {
    let mut buffer: Vec<u8> = Vec::with_capacity(size);
    loop {
        let (received, read) = stream.read(buffer).await;
        if received.expect("read") == 0 {
            break;
        }
        let (written, sent) = stream.write_all(read).await;
        written.expect("write");
        buffer = sent;
        buffer.clear();
    }
    drop(stream);
    closed.borrow_mut().one();
}

async fn echo(listener: u64, connections: u64, size: u64) {
    // SAFETY: the listener was inherited for this program alone.
    let listener = unsafe { StdListener::from_raw_fd(listener as i32) };
    let listener = TcpListener::from_std(listener).expect("listener");
    let closed = Rc::new(RefCell::new(Closed::new(connections)));
    loop {
        let (stream, _) = listener.accept().await.expect("accept");
        monoio::spawn(serve(stream, size as usize, closed.clone()));
    }
}

/// One chain of reads. The buffer is handed over as a vector that is never freed: its alignment is
/// not that of a vector.
async fn chain(file: Rc<File>, reads: Rc<RefCell<Reads>>, buffer: usize) {
    loop {
        // SAFETY: the block lives as long as the process, and this chain alone uses it.
        let mut vector = unsafe { Vec::from_raw_parts(buffer as *mut u8, BLOCK, BLOCK) };
        let Some(offset) = reads.borrow_mut().next(&mut vector) else {
            std::mem::forget(vector);
            return;
        };
        let (result, vector) = file.read_at(vector, offset).await;
        reads.borrow_mut().done(offset, result.expect("read_at"), &vector);
        std::mem::forget(vector);
    }
}

async fn reads(channel: u64, file: u64, blocks: u64, depth: u64, count: u64) {
    let mut channel = Channel::new(channel);
    // SAFETY: the file was inherited for this program alone.
    let file = unsafe { std::fs::File::from_raw_fd(file as i32) };
    let file = Rc::new(File::from_std(file).expect("file"));
    let reads = Rc::new(RefCell::new(Reads::new(blocks)));
    let buffers: Vec<usize> =
        buffers(depth).into_iter().map(|buffer| buffer.as_mut_ptr() as usize).collect();
    for (count, whole) in [(count / 10, true), (count, false)] {
        reads.borrow_mut().begin(count, whole);
        let start = |&buffer| monoio::spawn(chain(file.clone(), reads.clone(), buffer));
        for chain in buffers.iter().map(start).collect::<Vec<_>>() {
            chain.await;
        }
        reads.borrow().end();
        channel.stop();
    }
}

fn main() {
    let mut ring = io_uring::IoUring::builder();
    ring.setup_single_issuer().setup_defer_taskrun();
    let mut runtime = RuntimeBuilder::<IoUringDriver>::new()
        .with_entries(1024)
        .uring_builder(ring)
        .build()
        .expect("runtime");
    let (workload, numbers) = arguments();
    runtime.block_on(async {
        match (&*workload, &numbers[..]) {
            ("echo", &[listener, connections, size]) => echo(listener, connections, size).await,
            ("reads", &[channel, file, blocks, depth, count]) => {
                reads(channel, file, blocks, depth, count).await
            }
            _ => unknown(&workload),
        }
    });
    std::process::exit(0);
}
