//! What is going on in a build, read from what mmdebstrap, apt and dpkg write.
//!
//! These programs do not say beforehand how much there is to do, so `done` counts thousandths of a
//! build as it usually goes, and the text tells what is counted where something is.

use crate::image::ImageEvent;

/// All of a build.
const TOTAL: u64 = 1000;

/// How many lines are kept for an error.
const KEPT: usize = 400;

/// How many lines an error shows.
const SHOWN: usize = 8;

/// A part of a build, with the thousandth at which it begins and that at which it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Lists,
    Essential,
    Extract,
    Base,
    Packages,
    Cleaning,
}

/// Follows a build line by line.
#[derive(Debug)]
pub(crate) struct Progress {
    phase: Phase,
    /// How many packages this phase installs, once apt has said so.
    packages: u64,
    downloaded: u64,
    unpacked: u64,
    set_up: u64,
    done: u64,
    lines: Vec<String>,
}

/// Why a build failed, as far as its output tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The disk is full.
    DiskFull,
    /// The mirror cannot be reached.
    Network,
    /// There is no package of that name.
    Package,
    /// Something else.
    Other,
}

impl Progress {
    /// Nothing is done yet.
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Lists,
            packages: 0,
            downloaded: 0,
            unpacked: 0,
            set_up: 0,
            done: 0,
            lines: Vec::new(),
        }
    }

    /// Takes in one line of output; the answer is what there is to tell of it.
    pub(crate) fn line(&mut self, line: &str) -> Option<ImageEvent> {
        // dpkg counts with carriage returns: the last part is what a terminal would show.
        let line = line.trim_end().rsplit('\r').next().unwrap_or_default();
        self.keep(line);
        let text = match line.strip_prefix("I: ") {
            Some(step) => self.begin(step)?,
            None => self.count(line)?,
        };
        self.done = self.done.max(self.reached());
        Some(ImageEvent::Step { text, done: self.done, total: TOTAL })
    }

    /// The lines that tell why the build failed, and what they amount to.
    pub(crate) fn failure(&self) -> (Vec<String>, Cause) {
        let tells = |line: &&String| {
            ["E: ", "Err:", "W: Failed", "dpkg: error", "cannot "]
                .iter()
                .any(|s| line.starts_with(s))
                || line.contains("No space left on device")
        };
        let mut lines: Vec<String> = Vec::new();
        for line in self.lines.iter().filter(tells) {
            if !lines.contains(line) {
                lines.push(line.clone());
            }
        }
        if lines.is_empty() {
            lines.clone_from(&self.lines);
        }
        let cause = cause_of(&lines);
        lines.drain(..lines.len().saturating_sub(SHOWN));
        (lines, cause)
    }

    fn keep(&mut self, line: &str) {
        if self.lines.len() == KEPT {
            self.lines.remove(0);
        }
        if !line.trim().is_empty() {
            self.lines.push(line.to_owned());
        }
    }

    /// mmdebstrap begins a step.
    fn begin(&mut self, step: &str) -> Option<String> {
        let (phase, text) = match step {
            _ if step.starts_with("running apt-get update") => {
                (Phase::Lists, "reading package lists")
            }
            _ if step.starts_with("downloading packages") => {
                (Phase::Essential, "choosing packages")
            }
            _ if step.starts_with("extracting archives") => (Phase::Extract, "extracting the base"),
            _ if step.starts_with("installing essential") => (Phase::Base, "installing the base"),
            _ if step.starts_with("installing remaining") => (Phase::Packages, "choosing packages"),
            _ if step.starts_with("cleaning") => (Phase::Cleaning, "cleaning"),
            _ => return None,
        };
        if phase > self.phase {
            (self.downloaded, self.unpacked, self.set_up) = (0, 0, 0);
            // dpkg installs what apt has downloaded before: the same packages.
            if phase != Phase::Extract && phase != Phase::Base {
                self.packages = 0;
            }
            self.phase = phase;
        }
        Some(text.to_owned())
    }

    /// apt or dpkg has done something with one package.
    fn count(&mut self, line: &str) -> Option<String> {
        let mut words = line.split_whitespace();
        let first = words.next()?;
        if line.contains(" newly installed, ") {
            let words: Vec<&str> = line.split_whitespace().collect();
            let place = words.windows(2).position(|pair| pair == ["newly", "installed,"])?;
            self.packages = words.get(place.checked_sub(1)?)?.parse().ok()?;
            return Some(format!("installing {} packages", self.packages));
        }
        let (verb, counter, package) = match first {
            _ if first.starts_with("Get:") && self.phase == Phase::Lists => {
                return Some("downloading package lists".to_owned());
            }
            _ if first.starts_with("Get:") => {
                ("downloading", &mut self.downloaded, line.split_whitespace().nth(4)?)
            }
            "Unpacking" => ("unpacking", &mut self.unpacked, words.next()?),
            "Setting" if words.next() == Some("up") => {
                ("setting up", &mut self.set_up, words.next()?)
            }
            _ => return None,
        };
        let package = package.split(':').next().unwrap_or_default();
        if self.packages == 0 {
            return None;
        }
        *counter = (*counter + 1).min(self.packages);
        Some(format!("{verb} {counter}/{} {package}", self.packages))
    }

    /// The thousandths done by now, by the shares that the parts had in measured builds.
    fn reached(&self) -> u64 {
        let share = |part: u64, count: u64| (part * count).checked_div(self.packages).unwrap_or(0);
        match self.phase {
            Phase::Lists => 20,
            Phase::Essential => 150 + share(40, self.downloaded),
            Phase::Extract => 190,
            Phase::Base => 300 + share(150, self.unpacked) + share(50, self.set_up),
            Phase::Packages => {
                520 + share(30, self.downloaded)
                    + share(230, self.unpacked)
                    + share(180, self.set_up)
            }
            Phase::Cleaning => 970,
        }
    }
}

fn cause_of(lines: &[String]) -> Cause {
    let said =
        |words: &[&str]| lines.iter().any(|line| words.iter().any(|word| line.contains(word)));
    if said(&["No space left on device", "Disk quota exceeded", "enough free space"]) {
        Cause::DiskFull
    } else if said(&["Unable to locate package", "has no installation candidate"]) {
        Cause::Package
    } else if said(&[
        "Could not resolve",
        "Temporary failure resolving",
        "Could not connect",
        "Unable to connect",
        "Connection failed",
        "Failed to fetch",
        "Connection timed out",
    ]) {
        Cause::Network
    } else {
        Cause::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILD: &str = "\
I: finding correct signed-by value...
Get:1 http://mirror.example/debian bookworm InRelease [151 kB]
Get:5 http://mirror.example/debian bookworm/main amd64 Packages [8790 kB]
Fetched 9417 kB in 1s (10.3 MB/s)
I: downloading packages with apt...
0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.
Get:1 http://mirror.example/debian bookworm/main amd64 dash amd64 0.5.12-2 [98.5 kB]
Get:2 http://mirror.example/debian bookworm/main amd64 libc6 amd64 2.36-9 [2758 kB]
I: extracting archives...
I: installing essential packages...
Selecting previously unselected package libc6:amd64.
Unpacking libc6:amd64 (2.36-9+deb12u14) ...
Unpacking dash (0.5.12-2) ...
Setting up libc6:amd64 (2.36-9+deb12u14) ...
Setting up dash (0.5.12-2) ...
I: installing remaining packages inside the chroot...
0 upgraded, 1 newly installed, 0 to remove and 0 not upgraded.
Get:1 http://mirror.example/debian bookworm/main amd64 iproute2 amd64 6.1.0-3 [1046 kB]
(Reading database ... \r(Reading database ... 5%\r(Reading database ... 6121 files installed.)
Unpacking iproute2 (6.1.0-3) ...
Setting up iproute2 (6.1.0-3) ...
I: cleaning package lists and apt cache...
I: success in 18.7497 seconds
";

    fn steps(output: &str) -> Vec<(String, u64)> {
        let mut progress = Progress::new();
        let events = output.lines().filter_map(|line| progress.line(line));
        events
            .map(|event| match event {
                ImageEvent::Step { text, done, total: TOTAL } => (text, done),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_build_is_told_package_by_package() {
        let steps = steps(BUILD);
        let texts: Vec<&str> = steps.iter().map(|(text, _)| text.as_str()).collect();
        for text in [
            "downloading package lists",
            "downloading 2/2 libc6",
            "unpacking 1/2 libc6",
            "setting up 2/2 dash",
            "downloading 1/1 iproute2",
            "setting up 1/1 iproute2",
            "cleaning",
        ] {
            assert!(texts.contains(&text), "{text} is not in {texts:#?}");
        }
    }

    #[test]
    fn progress_never_goes_back_and_never_beyond_its_total() {
        let twice = BUILD.repeat(2);
        let steps = steps(&twice);
        assert!(steps.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{steps:#?}");
        assert!(steps.iter().all(|(_, done)| *done <= TOTAL));
    }

    #[test]
    fn odd_output_is_passed_over() {
        let odd = "I: downloading packages\n\n\r\nGet:\nGet:1\nUnpacking\nSetting\nSetting up\n newly installed, \n\
                   x newly installed, y\n99999999999999999999999 newly installed, 0\nI:\nI: \u{fffd}\n";
        assert_eq!(steps(odd), [("choosing packages".to_owned(), 150)]);
    }

    #[test]
    fn the_lines_that_tell_are_picked_for_the_error() {
        let cases = [
            ("E: Unable to locate package nosuch\n", Cause::Package),
            ("dpkg: error: x: No space left on device\n", Cause::DiskFull),
            (
                "Err:1 http://a b InRelease\n  Temporary failure resolving 'a'\nW: Failed to fetch \
              http://a  Temporary failure resolving 'a'\n",
                Cause::Network,
            ),
            ("tar: something\n", Cause::Other),
        ];
        for (lines, cause) in cases {
            let mut progress = Progress::new();
            for line in "I: extracting archives...\n".repeat(500).lines().chain(lines.lines()) {
                progress.line(line);
            }
            let (shown, found) = progress.failure();
            assert_eq!(found, cause, "{shown:?}");
            assert!(!shown.is_empty() && shown.len() <= SHOWN);
        }
    }
}
