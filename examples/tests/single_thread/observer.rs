//! Somebody else at the broker: listens to the telemetry of a device, gives it commands, and notes the answers.

use core::time::Duration;
use std::net::TcpStream;
use std::time::Instant;

use ota_core::time::Instant as Moment;
use ota_transport::session::{Event, Quality, Session, SessionConfig};

/// What was heard and said. Everything travels at least once, so nothing can be missing but what was not sent.
pub(crate) struct Observer {
    session: Session,
    stream: TcpStream,
    started: Instant,
    device: String,
    /// The telemetries, in the order in which they came.
    pub(crate) telemetry: Vec<String>,
    /// The commands that were given.
    pub(crate) commands: Vec<String>,
    /// The answers, in the order in which they came.
    pub(crate) answers: Vec<String>,
    is_last_heard: bool,
}

/// What the observer says to itself when everything else was said: it comes behind all that came before.
const LAST: &str = "telemetry/last";

impl Observer {
    /// Connects and subscribes.
    pub(crate) fn start(stream: TcpStream, device: &str) -> Self {
        // Waiting a moment for bytes keeps the loops below from spinning.
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let session = Session::new(SessionConfig::new("observer"), Moment(0)).unwrap();
        let mut observer = Self {
            session,
            stream,
            started: Instant::now(),
            device: device.into(),
            telemetry: Vec::new(),
            commands: Vec::new(),
            answers: Vec::new(),
            is_last_heard: false,
        };
        let mut missing = 2;
        while missing > 0 {
            match observer.next() {
                Some(Event::Connected { .. }) => {
                    for filter in ["telemetry/#", "answers/#"] {
                        observer.session.subscribe(filter, Quality::AtLeastOnce).unwrap();
                    }
                }
                Some(Event::Subscribed(_)) => missing -= 1,
                _ => {}
            }
        }
        observer
    }

    /// Listens for a moment. Whenever the device tells that it downloads, it is asked for its status: so a command is
    /// always under way, and each has a name of its own.
    pub(crate) fn listen(&mut self) {
        let Some(Event::Message { topic, payload }) = self.next() else { return };
        let text = String::from_utf8(payload.to_vec()).unwrap();
        if topic == LAST {
            self.is_last_heard = true;
        } else if topic.starts_with("telemetry/") {
            if text.contains("activity=Downloading") {
                let command = format!("status {}", self.commands.len());
                let topic = format!("commands/{}", self.device);
                self.session.publish(&topic, command.as_bytes(), Quality::AtLeastOnce).unwrap();
                self.commands.push(command);
            }
            self.telemetry.push(text);
        } else {
            self.answers.push(text);
        }
    }

    /// Listens until everything that was said before has arrived.
    pub(crate) fn listen_to_the_end(&mut self) {
        self.session.publish(LAST, b"", Quality::AtLeastOnce).unwrap();
        while !self.is_last_heard {
            self.listen();
        }
    }

    fn next(&mut self) -> Option<Event> {
        let now = Moment(u64::try_from(self.started.elapsed().as_millis()).unwrap());
        self.session.poll(&mut self.stream, now).unwrap()
    }
}
