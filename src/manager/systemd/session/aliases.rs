//! Aliases that match the patterns: only unit files show them.

use zbus::Message;

use super::super::wire;
use super::{Call, Following, Session};
use crate::core::selector::Aliases;
use crate::manager::Change;

impl Following {
    /// Requests the aliases, if a pattern is for them. That costs the manager a search in directories and a line for each
    /// unit with a file.
    pub(super) async fn request_aliases(&mut self, session: &Session) -> zbus::Result<()> {
        let patterns = session.patterns.get(1..).unwrap_or_default();
        if patterns.is_empty() {
            return self.replace_aliases(session, Aliases::new()).await;
        }
        let files = wire::call("ListUnitFilesByPatterns", &(Vec::<&str>::new(), patterns))?;
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
        self.replace_aliases(session, wire::aliases(names, &lines)).await
    }

    async fn replace_aliases(&mut self, session: &Session, aliases: Aliases) -> zbus::Result<()> {
        session.aliases.send_replace(aliases.clone());
        if aliases == self.aliases {
            return Ok(());
        }
        self.aliases.clone_from(&aliases);
        let _ = session.changes.send(Change::Aliases(aliases));
        self.list_all(session).await
    }
}
