//! How steady a processor is: the same arithmetic again and again, without memory and without the kernel, for some seconds.
//!
//! `cargo run --release -p ropewalk-load --example steadiness -- [SECONDS]`, bound to a processor by `taskset`, with real-time
//! priority (`chrt -f 50`) so that no other process of this machine is in it. It prints a line of JSON: the share of 5 ms in which
//! the arithmetic took more than 1.5 times the median, and the slowest. What is slow then is the processor itself: on a virtual
//! machine, what its host takes away. No latency at the same time can be steadier.
#![expect(clippy::print_stdout, reason = "the figures are the output of this program")]

use std::hint::black_box;
use std::time::{Duration, Instant};

const STEPS: u32 = 20_000;
const WINDOW: Duration = Duration::from_millis(5);
/// A window is slow from so many times the median on.
const SLOW: f64 = 1.5;

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(5.0);
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let (mut windows, mut value) = (Vec::new(), 1_u64);
    while windows.is_empty() || Instant::now() < end {
        let (begun, mut pieces) = (Instant::now(), 0_u32);
        while begun.elapsed() < WINDOW {
            // Each step needs the one before it: xorshift (Marsaglia 2003).
            for _ in 0..STEPS {
                value ^= value << 13;
                value ^= value >> 7;
                value ^= value << 17;
            }
            black_box(value);
            pieces += 1;
        }
        windows.push(begun.elapsed().as_secs_f64() * 1e6 / f64::from(pieces));
    }
    windows.sort_by(f64::total_cmp);
    let (median, slowest) = (windows[windows.len() / 2], windows[windows.len() - 1]);
    let slow = windows.iter().filter(|window| **window > SLOW * median).count();
    println!(
        "{{\"windows\": {}, \"median_us\": {median:.1}, \"slow\": {:.3}, \"slowest\": {:.1}}}",
        windows.len(),
        slow as f64 / windows.len() as f64,
        slowest / median
    );
}
