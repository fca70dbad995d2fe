//! Aliases that match the patterns: only unit files show them.

use zbus::Message;

use super::super::wire;
use super::{Call, Following, Session};
use crate::manager::Change;

impl Following {
    /// Requests the aliases. That costs the manager a search in directories.
    pub(super) async fn request_aliases(&mut self, session: &Session) -> zbus::Result<()> {
        let files = wire::call("ListUnitFilesByPatterns", &(Vec::<&str>::new(), &session.patterns))?;
        self.calls.insert(files.primary_header().serial_num(), Call::Files);
        self.connection.send_all(&[files]).await
    }

    pub(super) async fn found_files(&mut self, message: &Message) -> zbus::Result<()> {
        // A manager that rejects the call has no aliases.
        let names = wire::possible_aliases(wire::unit_files(message).unwrap_or_default());
        let units = wire::call("ListUnitsByNames", &names)?;
        self.calls.insert(units.primary_header().serial_num(), Call::Names(names));
        self.connection.send_all(&[units]).await
    }

    pub(super) async fn found_names(
        &mut self,
        session: &Session,
        message: &Message,
        names: &[String],
    ) -> zbus::Result<()> {
        let Ok(lines) = wire::lines(message) else { return Ok(()) };
        let aliases = wire::aliases(names, &lines);
        session.aliases.send_replace(aliases.clone());
        if aliases == self.aliases {
            return Ok(());
        }
        self.aliases.clone_from(&aliases);
        let _ = session.changes.send(Change::Aliases(aliases));
        self.list_all(session).await
    }
}
