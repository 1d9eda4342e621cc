//! tokio: the runtime of one thread (epoll), tasks of that thread, its timer wheel.

use std::net::TcpListener as StdListener;
use std::os::fd::FromRawFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Channel, Closed, arguments, random_below, unknown};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

async fn serve(mut stream: TcpStream, size: usize, closed: Arc<Mutex<Closed>>) {
    let mut buffer = vec![0; size];
    loop {
        let received = stream.read(&mut buffer).await.expect("read");
        if received == 0 {
            break;
        }
        stream.write_all(&buffer[..received]).await.expect("write");
    }
    drop(stream);
    closed.lock().expect("one thread").one();
}

async fn echo(listener: u64, connections: u64, size: u64) {
    // SAFETY: the listener was inherited for this program alone.
    let listener = unsafe { StdListener::from_raw_fd(listener as i32) };
    listener.set_nonblocking(true).expect("nonblocking");
    let listener = TcpListener::from_std(listener).expect("listener");
    let closed = Arc::new(Mutex::new(Closed::new(connections)));
    loop {
        let (stream, _) = listener.accept().await.expect("accept");
        tokio::spawn(serve(stream, size as usize, closed.clone()));
    }
}

type Sleep = std::pin::Pin<Box<tokio::time::Sleep>>;

/// Polls once, which is what puts a timer into the wheel.
async fn arm(timer: &mut Sleep) {
    std::future::poll_fn(|context| {
        let _ = timer.as_mut().poll(context);
        std::task::Poll::Ready(())
    })
    .await
}

/// One to two hours, as `benches/timers.c` has it.
fn hour_us(seed: &mut u64) -> u64 {
    const HOUR_US: u64 = 3_600_000_000;
    HOUR_US + random_below(seed, HOUR_US)
}

/// Arms `outstanding` timers, and in the measured part `count` times cancels a random one and arms
/// another in its place: a `Sleep` in its old allocation.
async fn pairs(channel: u64, outstanding: u64, count: u64) {
    let mut channel = Channel::new(channel);
    let mut seed = 1;
    let mut timers = Vec::with_capacity(outstanding as usize);
    for _ in 0..outstanding {
        let mut timer = Box::pin(tokio::time::sleep(Duration::from_micros(hour_us(&mut seed))));
        arm(&mut timer).await;
        timers.push(timer);
    }
    for run in [count / 10, count] {
        if run == count {
            channel.stop();
        }
        for pair in 0..run {
            let victim = random_below(&mut seed, outstanding);
            let after = Duration::from_micros(hour_us(&mut seed));
            let timer = &mut timers[victim as usize];
            timer.set(tokio::time::sleep(after));
            arm(timer).await;
            // As often as the engine looks at the kernel, and at what is due.
            if pair % 64 == 0 {
                tokio::task::yield_now().await;
            }
        }
    }
    channel.stop();
}

/// Lets `outstanding` timers, due within 10 ms, fire; the measured part begins when all are due.
async fn fire(channel: u64, outstanding: u64) {
    let mut channel = Channel::new(channel);
    let mut seed = 1;
    let mut timers = Vec::with_capacity(outstanding as usize);
    for _ in 0..outstanding {
        let after = Duration::from_micros(random_below(&mut seed, 10_000));
        let due = Instant::now() + after;
        let mut timer = Box::pin(tokio::time::sleep(after));
        arm(&mut timer).await;
        timers.push((timer, due));
    }
    std::thread::sleep(Duration::from_millis(20));
    channel.stop();
    for (timer, _) in &mut timers {
        timer.as_mut().await;
    }
    channel.stop();
    let now = Instant::now();
    assert!(timers.iter().all(|(timer, due)| timer.is_elapsed() && *due <= now));
}

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("runtime");
    let (workload, numbers) = arguments();
    runtime.block_on(async {
        match (&*workload, &numbers[..]) {
            ("echo", &[listener, connections, size]) => echo(listener, connections, size).await,
            ("pairs", &[channel, outstanding, count]) => pairs(channel, outstanding, count).await,
            ("fire", &[channel, outstanding]) => fire(channel, outstanding).await,
            _ => unknown(&workload),
        }
    });
}
