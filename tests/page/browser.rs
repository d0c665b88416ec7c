//! A real Chromium, spoken to through its debugging pipe: no driver, no port.
//!
//! The pipe is descriptors 3 and 4, which a shell gives it, so that nothing here is unsafe.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

/// Far longer than anything here takes: only a browser that hangs meets it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one open page.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    session: Option<String>,
    last_id: u64,
    /// Whatever it told without being asked.
    pub events: Vec<Value>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// None if there is no Chromium on this machine.
    pub fn open() -> Option<Self> {
        let found = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
            .into_iter()
            .find(|name| Command::new(name).arg("--version").output().is_ok_and(|answer| answer.status.success()))?;
        let profile = tempfile::tempdir().expect("a folder");
        let mut child = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 0</dev/null 1>&2"#, found])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"])
            .args(["--disable-dev-shm-usage", "--remote-debugging-pipe", "--disable-background-networking"])
            // whoever asks for another machine gets none
            .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a browser");
        let to = child.stdin.take().expect("a pipe");
        let mut pipe = BufReader::new(child.stdout.take().expect("a pipe"));
        let (send, from) = channel();
        std::thread::spawn(move || {
            let mut line = Vec::new();
            while pipe.read_until(0, &mut line).is_ok_and(|len| len > 0) {
                line.pop();
                if send.send(serde_json::from_slice(&line).expect("JSON from the browser")).is_err() {
                    return;
                }
                line.clear();
            }
        });
        let mut browser = Self { child, to, from, session: None, last_id: 0, events: Vec::new(), _profile: profile };
        let target = browser.ask("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let session = browser.ask("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Sends a command and waits for its answer.
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).expect("the browser listens");
        loop {
            let mut answer = self.next(method);
            if answer["id"] == json!(self.last_id) {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].take();
            }
            self.events.push(answer);
        }
    }

    /// Opens `url` and waits until all of it is there.
    pub fn go(&mut self, url: &str) {
        self.events.clear();
        let gone = self.ask("Page.navigate", json!({"url": url}));
        assert!(gone["errorText"].is_null(), "{url}: {gone}");
        self.loaded(url);
    }

    /// Does something that leads to another page, and waits until all of that is there.
    pub fn follow(&mut self, deed: &str) {
        self.events.clear();
        self.ask("Runtime.evaluate", json!({"expression": deed, "userGesture": true}));
        self.loaded(deed);
    }

    fn loaded(&mut self, url: &str) {
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.next(url);
            self.events.push(event);
        }
    }

    /// The value of an expression in the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let mut answer = self
            .ask("Runtime.evaluate", json!({"expression": expression, "returnByValue": true, "awaitPromise": true}));
        assert!(answer["exceptionDetails"].is_null(), "{}", answer["exceptionDetails"]);
        answer["result"]["value"].take()
    }

    /// How wide the window is, and which colours are liked.
    pub fn size(&mut self, width: u32, scheme: &str) {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600});
        self.ask("Emulation.setDeviceMetricsOverride", size);
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.ask("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// The whole page as a PNG, in base64.
    pub fn picture(&mut self) -> String {
        let shot = self.ask("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": true}));
        shot["data"].as_str().expect("a picture").to_owned()
    }

    /// What the page complained of: the console, exceptions, the log of the browser (a policy that was broken).
    pub fn complaints(&self) -> Vec<String> {
        let loud = ["Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Network.loadingFailed"];
        let is_loud = |event: &&Value| loud.iter().any(|method| event["method"] == *method);
        self.events.iter().filter(is_loud).map(ToString::to_string).collect()
    }

    /// Every address that was asked for.
    pub fn requests(&self) -> Vec<String> {
        let asked = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        asked.map(|event| event["params"]["request"]["url"].as_str().unwrap_or_default().to_owned()).collect()
    }

    fn next(&self, during: &str) -> Value {
        self.from.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{during}: the browser is silent: {error}"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // a test that failed must not leave it running
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
