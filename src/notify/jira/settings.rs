//! What the configuration says about one JIRA, as settled values.
//!
//! The danger here is the wrong flavour: Cloud and Data Center differ in how one signs in, in how text is written and in
//! how one searches, and each answers the other's way with something that looks like an outage.

use std::time::Duration;

use super::super::http::Address;
use crate::domain::Secret;

/// A closed ticket is opened again for this long after it was closed, unless the configuration says otherwise.
pub const REOPEN_WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);

/// Resolutions that mean "a person has decided that nothing will be done".
pub const WONT_DO: [&str; 4] = ["Won't Do", "Won't Fix", "Declined", "Wont Fix"];

/// Which of the two JIRAs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// `/rest/api/3`, texts as ADF, Basic with user and API token.
    Cloud,
    /// `/rest/api/2`, texts as wiki markup, Bearer with a personal access token.
    DataCenter,
}

impl Flavour {
    /// By the host's name: Atlassian's own are Cloud, all others are not (a Cloud under a name of one's own must be said).
    pub fn of(url: &Address) -> Self {
        let host = url.host_name();
        if host == "atlassian.net" || host.ends_with(".atlassian.net") { Self::Cloud } else { Self::DataCenter }
    }

    /// `2` or `3`, as in `/rest/api/3`.
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::Cloud => "3",
            Self::DataCenter => "2",
        }
    }
}

/// How we sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignIn {
    /// `user:token`, as Cloud has it; a password on a Data Center that is older than 8.14.
    Basic {
        /// On Cloud the e-mail address.
        user: String,
        /// The API token.
        token: Secret,
    },
    /// A personal access token.
    Bearer(Secret),
}

/// One JIRA, and what tickets there are to be like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its root, without `/rest`.
    pub url: Address,
    /// Which kind.
    pub flavour: Flavour,
    /// How to sign in.
    pub sign_in: SignIn,
    /// The project's key: `OPS`.
    pub project: String,
    /// The name of the issue type: `Task`.
    pub issue_type: String,
    /// The name of a priority; none leaves JIRA's own.
    pub priority: Option<String>,
    /// Labels besides our two. Blanks in them become `-`.
    pub labels: Vec<String>,
    /// Whether a ticket is closed when all is well again; else that is left to people.
    pub resolve: bool,
    /// A ticket that was closed less than this ago is opened again; later there is a new one.
    pub reopen_within: Duration,
    /// Names of resolutions that are left alone, in the language of that JIRA; upper and lower case are the same.
    pub wont_do: Vec<String>,
}

impl Settings {
    /// With everything optional at its default.
    pub fn new(url: Address, flavour: Flavour, sign_in: SignIn, project: &str, issue_type: &str) -> Self {
        Self {
            url,
            flavour,
            sign_in,
            project: project.to_owned(),
            issue_type: issue_type.to_owned(),
            priority: None,
            labels: Vec::new(),
            resolve: false,
            reopen_within: REOPEN_WITHIN,
            wont_do: WONT_DO.map(str::to_owned).to_vec(),
        }
    }
}
