//! Failed sockets: clients cannot reach the units that these start.

use zbus::Message;

use super::super::wire;
use super::{Call, Following, Session};
use crate::core::units::UnitName;
use crate::manager::Change;

impl Following {
    /// Handles the list of failed sockets. For new ones, the units that they start are requested.
    pub(super) async fn sockets_listed(&mut self, session: &Session, failed: Vec<String>) -> zbus::Result<()> {
        let before = self.failed_sockets.len();
        self.failed_sockets.retain(|socket, _| failed.contains(socket));
        let some_are_well = self.failed_sockets.len() < before;
        let mut questions = Vec::new();
        for socket in failed {
            if !self.failed_sockets.contains_key(&socket) {
                let question = wire::property_of(&socket, wire::UNIT, "Triggers")?;
                self.calls.insert(question.primary_header().serial_num(), Call::Triggers(socket.clone()));
                self.failed_sockets.insert(socket, None);
                questions.push(question);
            }
        }
        if some_are_well {
            self.tell_failed_sockets(session);
        }
        self.connection.send_all(&questions).await
    }

    pub(super) fn triggers_received(&mut self, session: &Session, message: &Message, socket: &str) {
        let services = wire::names_in(message).into_iter().filter_map(|name| UnitName::parse(&name).ok());
        if let Some(triggers) = self.failed_sockets.get_mut(socket) {
            *triggers = Some(services.collect());
            self.tell_failed_sockets(session);
        }
    }

    pub(super) fn tell_failed_sockets(&self, session: &Session) {
        let services = self.failed_sockets.values().flatten().flatten().cloned();
        let _ = session.changes.send(Change::FailedSockets(services.collect()));
    }
}
