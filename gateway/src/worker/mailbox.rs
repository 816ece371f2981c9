//! Commands from the side thread: a queue, and a socket pair whose only use is to wake the worker.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use super::guests::recheck;
use super::stop::Stop;
use super::{Command, Handed, Reply, Worker};
use crate::conn;
use crate::listen::{WorkerSockets, accept_loop};
use crate::rt;

/// Wake-ups read at once.
const WAKES: usize = 64;

/// The end of the side thread, and of other workers.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    queue: mpsc::Sender<Command>,
    bell: Arc<UnixStream>,
}

/// The worker's end.
#[derive(Debug)]
pub(super) struct Receiver {
    queue: mpsc::Receiver<Command>,
    bell: UnixStream,
}

/// A mailbox. The queue is bounded by what is written: the side thread writes a few times a second,
/// and other workers hand over connections, of which each has its place among those that may be open.
pub(super) fn channel() -> io::Result<(Sender, Receiver)> {
    let (sender, receiver) = mpsc::channel();
    let (near, far) = UnixStream::pair()?;
    near.set_nonblocking(true)?;
    far.set_nonblocking(true)?;
    let sender = Sender {
        queue: sender,
        bell: near.into(),
    };
    let receiver = Receiver {
        queue: receiver,
        bell: far,
    };
    Ok((sender, receiver))
}

impl Sender {
    pub(super) fn send(&self, command: Command) {
        // A worker that has ended has no ears; a bell that is full has been rung.
        drop(self.queue.send(command));
        drop((&*self.bell).write(&[1]));
    }
}

/// Carries out commands until the worker is to end.
pub(super) async fn obey(worker: &Rc<Worker>, mut receiver: Receiver) {
    let Ok(bell) = receiver.bell.try_clone().map(Into::into) else {
        return;
    };
    let Ok(watch) = rt::Readiness::new(bell) else {
        return;
    };
    let mut listeners = Listeners::default();
    while watch.readable().await.is_ok() {
        // Rings in vain happen; an end means that the other end is gone, and with it everybody who
        // could stop us properly.
        if matches!(receiver.bell.read(&mut [0; WAKES]), Ok(0)) {
            return;
        }
        while let Ok(command) = receiver.queue.try_recv() {
            if let Command::Drain(limit, reply) = command {
                let cut = drain(worker, &mut listeners, limit).await;
                worker.log.borrow_mut().flush();
                answer(reply, cut);
                return;
            }
            listeners.obey(worker, command);
        }
    }
}

/// Who asked may have given up: that is no error.
fn answer<T>(reply: Reply<T>, answer: T) {
    let _: Result<(), T> = reply.send(answer);
}

/// Tasks that accept, by listener.
#[derive(Debug, Default)]
struct Listeners {
    open: HashMap<Arc<str>, Vec<Rc<Stop>>>,
}

impl Listeners {
    fn obey(&mut self, worker: &Rc<Worker>, command: Command) {
        match command {
            Command::Activate(generation, reply) => {
                if worker.activate(generation) {
                    rt::spawn(recheck(Rc::clone(worker)));
                }
                answer(reply, ());
            }
            Command::Listen(sockets) => self.open(worker, sockets),
            Command::Unlisten(name, reply) => {
                self.close(&name);
                worker.quic.borrow_mut().remove(&name);
                worker.guests.send_away(Some(&name));
                // The sockets close with their tasks, which run before this one's next turn.
                rt::spawn(async move { answer(reply, ()) });
            }
            Command::Lame => worker.guests.close(),
            Command::LookedUp(host, found) => {
                worker.hosts.learn(&host, found, worker.timers.now());
            }
            Command::Meet(others) => worker.meet(others),
            Command::Seat(handed) => self.seat(worker, *handed),
            Command::Collect(reply) => answer(reply, worker.report()),
            Command::Drain(..) => {}
        }
    }

    fn open(&mut self, worker: &Rc<Worker>, sockets: WorkerSockets) {
        let WorkerSockets {
            name,
            sockets,
            doors,
        } = sockets;
        let slot = worker.stats.borrow_mut().listener(&name);
        let entrance = worker.load.entrance(&name);
        for (address, socket) in sockets {
            let stop = Rc::new(Stop::default());
            let stops = self.open.entry(Arc::clone(&name)).or_default();
            stops.push(Rc::clone(&stop));
            let (worker, name) = (Rc::clone(worker), Arc::clone(&name));
            let (door, entrance) = (address.clone(), entrance.clone());
            rt::spawn(async move {
                let arrived =
                    |arrival| conn::welcome(&worker, &name, slot, &entrance, &door, arrival);
                // A listener whose socket fails has nothing left to do; others go on.
                drop(stop.or(accept_loop(address, socket, arrived)).await);
            });
        }
        if !doors.is_empty() {
            worker.quic.borrow_mut().insert(Arc::clone(&name));
        }
        for door in doors {
            let stop = Rc::new(Stop::default());
            let stops = self.open.entry(Arc::clone(&name)).or_default();
            stops.push(Rc::clone(&stop));
            let (worker, name) = (Rc::clone(worker), Arc::clone(&name));
            rt::spawn(conn::listen_quic(worker, name, slot, door, stop));
        }
    }

    /// Serves a connection that another worker accepted, unless its listener has gone meanwhile.
    fn seat(&self, worker: &Rc<Worker>, handed: Handed) {
        let Handed {
            listener,
            door,
            arrival,
            ticket,
        } = handed;
        if self.open.contains_key(&listener) {
            let slot = worker.stats.borrow_mut().listener(&listener);
            conn::seat(worker, &listener, slot, &door, arrival, ticket);
        }
    }

    fn close(&mut self, name: &str) {
        for stop in self.open.remove(name).unwrap_or_default() {
            stop.raise();
        }
    }
}

/// Stops accepting, waits for the connections to end, and says how many did not.
async fn drain(worker: &Rc<Worker>, listeners: &mut Listeners, limit: Duration) -> usize {
    for (_, stops) in listeners.open.drain() {
        stops.iter().for_each(|stop| stop.raise());
    }
    worker.quic.borrow_mut().clear();
    worker.guests.close();
    let over = Rc::new(Stop::default());
    let bell = Rc::clone(&over);
    rt::spawn(async move {
        rt::sleep(limit).await;
        bell.raise();
    });
    over.or(worker.guests.gone()).await;
    worker.guests.count()
}
