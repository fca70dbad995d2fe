//! The resource usage of many workers, in as few calls as possible.

use std::collections::BTreeMap;

use super::daemon::{DaemonClient, DaemonError, escaped};
use crate::api::MAX_USAGE_UNITS;
use crate::manager::Usage;

/// Maximum length of a list of units in a path: the daemon reads 16 KiB of a header.
const MAX_QUERY_BYTES: usize = 12 * 1024;

impl DaemonClient {
    /// What these units take of the machine now, by their names without `.service`. Units that are no covered workers are
    /// left out.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn usages(&self, units: &[String]) -> Result<BTreeMap<String, Usage>, DaemonError> {
        let mut usages = BTreeMap::new();
        for query in usage_queries(units) {
            usages.extend(self.get::<BTreeMap<_, _>>(&format!("/v1/usage?units={query}")).await?);
        }
        Ok(usages)
    }
}

/// Lists of units for a query, each as long as the daemon accepts.
fn usage_queries(units: &[String]) -> Vec<String> {
    let mut queries = Vec::new();
    let mut query = String::new();
    let mut count = 0;
    for unit in units {
        let unit = escaped(unit);
        if count == MAX_USAGE_UNITS || query.len() + 1 + unit.len() > MAX_QUERY_BYTES {
            queries.push(std::mem::take(&mut query));
            count = 0;
        }
        if count > 0 {
            query.push(',');
        }
        query.push_str(&unit);
        count += 1;
    }
    if count > 0 {
        queries.push(query);
    }
    queries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_units_are_asked_about_in_several_calls() {
        assert_eq!(usage_queries(&[]), [""; 0]);
        assert_eq!(usage_queries(&["a".into(), "b@1\\x2d".into()]), ["a,b%401%5Cx2d"]);
        let short = vec!["a".to_owned(); 450];
        assert_eq!(usage_queries(&short).iter().map(|it| it.split(',').count()).collect::<Vec<_>>(), [200, 200, 50]);
        let long = vec!["\\".repeat(240); 60];
        let queries = usage_queries(&long);
        assert_eq!(queries.iter().map(|it| it.split(',').count()).sum::<usize>(), 60);
        assert!(queries.iter().all(|it| it.len() <= MAX_QUERY_BYTES));
    }
}
