//! What `verify` found as a JUnit report, which CI systems show: a suite for each job, a test case for each snapshot.
//!
//! Made by a library, because a file may be called `]]>` or hold what XML cannot.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::exit::{Exit, Failure};
use crate::domain::Trouble;

/// One snapshot.
pub(super) struct Case {
    pub(super) snapshot: String,
    pub(super) job: String,
    pub(super) level: &'static str,
    pub(super) took: Duration,
    /// Lines; none if it is well.
    pub(super) damages: Vec<String>,
    pub(super) notes: Vec<String>,
    /// Why it was not verified to its end; none if it was.
    pub(super) error: Option<String>,
}

/// Writes the report into a file, in the place of what is there.
pub(super) fn write(path: &Path, cases: &[Case]) -> Result<(), Failure> {
    let text = text(cases).map_err(|error| failed(path, &error))?;
    // a report of an earlier job is of no more use, and a torn one fails the CI job as it should
    let mut file = std::fs::File::create(path).map_err(|error| failed(path, &error))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &dyn std::error::Error) -> Failure {
    let what = format!("the report {} could not be written: {error}", path.display());
    let advice = "everything was verified, and the results are above; name another file with --junit".to_owned();
    Failure { exit: Exit::Failed, trouble: Trouble { what, causes: Vec::new(), advice } }
}

fn text(cases: &[Case]) -> Result<String, quick_junit::SerializeError> {
    let mut report = Report::new("backup verify");
    let mut suites: Vec<(&str, TestSuite)> = Vec::new();
    for case in cases {
        let status = if let Some(error) = &case.error {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(format!("{} was not verified to its end", case.snapshot)).set_type("error");
            let lines: Vec<&str> = case.damages.iter().map(String::as_str).chain([error.as_str()]).collect();
            status.set_description(lines.join("\n"));
            status
        } else if case.damages.is_empty() {
            TestCaseStatus::success()
        } else {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(format!("{} is damaged", case.snapshot)).set_type("damage");
            status.set_description(case.damages.join("\n"));
            status
        };
        let mut test = TestCase::new(format!("{} ({})", case.snapshot, case.level), status);
        test.set_classname(&*case.job).set_time(case.took);
        if !case.notes.is_empty() {
            test.set_system_out(case.notes.join("\n"));
        }
        match suites.iter_mut().find(|(job, _)| *job == case.job) {
            Some((_, suite)) => drop(suite.add_test_case(test)),
            None => {
                let mut suite = TestSuite::new(&*case.job);
                suite.add_test_case(test);
                suites.push((&case.job, suite));
            }
        }
    }
    report.add_test_suites(suites.into_iter().map(|(_, suite)| suite));
    report.to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Case, text};

    #[test]
    fn a_report_is_xml_whatever_a_file_is_called() {
        let case = |snapshot: &str, damages: &[&str]| Case {
            snapshot: snapshot.to_owned(),
            job: "up".to_owned(),
            level: "stored",
            took: Duration::from_millis(1500),
            damages: damages.iter().map(|&line| line.to_owned()).collect(),
            notes: Vec::new(),
            error: None,
        };
        let half = Case { error: Some("the store does not answer".to_owned()), ..case("up-3", &["e"]) };
        let text =
            text(&[half, case("up-1", &[]), case("up-2", &["a]]>\u{1}<b & \"c\"\u{1b}[31m", "d"])]).expect("a report");
        assert!(text.contains(r#"tests="3""#) && text.contains(r#"failures="1""#), "{text}");
        assert!(text.contains(r#"errors="1""#) && text.contains("up-3 was not verified to its end"), "{text}");
        assert!(text.contains("e\nthe store does not answer"), "what was found until then is told: {text}");
        assert!(text.contains("up-1 (stored)") && text.contains("up-2 is damaged"), "{text}");
        assert!(text.contains("]]&gt;&lt;b &amp;") && !text.contains(['\u{1}', '\u{1b}']), "{text}");
    }
}
