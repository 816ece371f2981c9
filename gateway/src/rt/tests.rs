//! Tests of the runtime's edges: drivers, alarms, contained panics.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;

use sallyport_core::time::Now;

use super::*;

/// Runs a test on each driver that works here.
fn on_each_driver(test: impl Fn(&mut Runtime)) {
    for choice in [DriverChoice::Auto, DriverChoice::Epoll] {
        let driver = probe(choice).unwrap();
        test(&mut Runtime::new(driver.kind).unwrap());
    }
}

#[test]
fn an_alarm_rings_at_its_last_setting_and_not_before() {
    on_each_driver(|runtime| {
        runtime.block_on(async {
            let timers = Timers::new();
            spawn(Rc::clone(&timers).run());
            let alarm = timers.alarm();
            let start = timers.now();
            // Far, near, a little later: the entry of the second rings too early and is put back.
            alarm.set(Some(start.after_micros(60_000_000)));
            alarm.set(Some(start.after_micros(2_000)));
            alarm.set(Some(start.after_micros(20_000)));
            poll_fn(|context| alarm.poll(context)).await;
            assert!(timers.now() >= Now(start.0 + 20_000));
        });
    });
}

#[test]
fn alarms_ring_in_order_and_dropped_ones_do_not() {
    on_each_driver(|runtime| {
        runtime.block_on(async {
            let timers = Timers::new();
            spawn(Rc::clone(&timers).run());
            let base = timers.now();
            let alarms: Vec<_> = (0..50).map(|_| timers.alarm()).collect();
            for (step, alarm) in (1..).zip(alarms.iter().rev()) {
                alarm.set(Some(base.after_micros(step * 1_000)));
            }
            for alarm in alarms.iter().rev() {
                poll_fn(|context| alarm.poll(context)).await;
            }
            drop(alarms);
            assert_eq!(timers.queue.borrow().alarms.len(), 0);
            // An alarm in the place of a dropped one is not rung by its entries.
            let alarm = timers.alarm();
            alarm.set(Some(timers.now().after_micros(5_000)));
            poll_fn(|context| alarm.poll(context)).await;
        });
    });
}

#[test]
fn a_queue_of_short_lived_alarms_stays_short() {
    let timers = Timers::new();
    for _ in 0..10_000 {
        timers.alarm().set(Some(Now(3_600_000_000)));
    }
    assert!(timers.queue.borrow().entries.len() <= STALE_BOUND);
}
const STALE_BOUND: usize = 1_026;

#[test]
fn a_panic_ends_one_task() {
    on_each_driver(|runtime| {
        let done = runtime.block_on(async {
            let reached = Rc::new(Cell::new(false));
            spawn(async { panic!("this panic is part of a test") });
            let flag = Rc::clone(&reached);
            spawn(async move { flag.set(true) });
            sleep(Duration::from_millis(1)).await;
            reached.get()
        });
        assert!(done);
    });
}
