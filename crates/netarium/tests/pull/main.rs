//! Images are pulled from registries that break, lie and send elsewhere.
//!
//! The test program is also the stage program, hence no harness. Each test has a registry of its
//! own on the loopback address, and a store in a temporary folder.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod registry;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;

use libtest_mimic::{Arguments, Failed, Trial};
use netarium::image::{ImageError, ImageEvent, PullError, PullOptions, Store, Transport};
use netarium_core::model::Image;
use registry::{Manner, Registry};

fn main() -> ExitCode {
    netarium::run_if_stage();
    let tests = vec![
        Trial::test("an_image_is_pulled_once_and_shared", an_image_is_pulled_once_and_shared),
        Trial::test("who_pulls_what_others_have_just_pulled_has_it", pulled_by_several),
        Trial::test("a_connection_that_breaks_is_taken_up_again", || {
            breaks("breaks", Manner::Breaks)
        }),
        Trial::test("a_registry_without_parts_sends_all_again", || {
            breaks("without-parts", Manner::BreaksWithoutParts)
        }),
        Trial::test("a_layer_that_is_another_one_leaves_nothing", a_layer_that_is_another_one),
        Trial::test("who_has_no_password_gets_no_token", with_a_token),
        Trial::test("a_token_does_not_go_where_a_blob_is_sent_from", redirected),
        Trial::test("what_a_registry_does_not_give_is_told", refused),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

struct Test {
    folder: PathBuf,
    store: Store,
}

impl Test {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("netarium-pull-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self { store: Store::at(&folder.join("images")).unwrap(), folder }
    }

    fn pull(&self, registry: &Registry) -> Result<Vec<ImageEvent>, ImageError> {
        let events = Mutex::new(Vec::new());
        let report = |event| events.lock().unwrap().push(event);
        let options = PullOptions { transport: Transport::Plain };
        run(self.store.pull(&image(registry), options, &report))?;
        Ok(events.into_inner().unwrap())
    }

    fn error(&self, registry: &Registry) -> PullError {
        match self.pull(registry).unwrap_err() {
            ImageError::Pull { source, .. } => *source,
            error => panic!("{error}"),
        }
    }

    /// The layers that are there when nothing half made is left: a stage cleans up after the one
    /// who wanted the layer is gone.
    fn cleaned(&self) -> Vec<String> {
        let began = std::time::Instant::now();
        loop {
            let layers = self.layers();
            if !layers.iter().any(|name| name.starts_with('.')) {
                return layers;
            }
            assert!(began.elapsed().as_secs() < 60, "{layers:?}");
            std::thread::yield_now();
        }
    }

    /// The names of the layers' folders, half made ones too.
    fn layers(&self) -> Vec<String> {
        let entries = fs::read_dir(self.store.folder().join("layers")).into_iter().flatten();
        let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.ends_with(".lock")).collect()
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.cleaned();
        run(self.store.remove_pulled(|_| true)).unwrap();
        assert_eq!(self.layers(), Vec::<String>::new());
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

fn image(registry: &Registry) -> Image {
    let reference = format!("{}/some/image:1", registry.address()).parse().unwrap();
    Image::Registry { reference, platform: None }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn an_image_is_pulled_once_and_shared() -> Result<(), Failed> {
    let test = Test::new("once");
    let registry = Registry::start(Manner::Honest);
    let events = test.pull(&registry)?;
    assert!(matches!(events.last(), Some(ImageEvent::Pulled { bytes, .. }) if *bytes > 0));
    let found = test.store.find(&image(&registry))?.unwrap();
    assert_eq!(found.layers.len(), 2);
    assert_eq!(found.config.command, ["/bin/true"]);
    assert_eq!(test.layers().len(), 2);
    let asked = registry.blobs();
    let events = test.pull(&registry)?;
    assert!(matches!(events.last(), Some(ImageEvent::Pulled { bytes: 0, .. })), "{events:?}");
    assert_eq!(registry.blobs(), asked + 1, "only the configuration is asked for again");
    Ok(())
}

/// A lab holds an image as soon as it has come, while others still wait to pull it.
fn pulled_by_several() -> Result<(), Failed> {
    let test = Test::new("several");
    let registry = Registry::start(Manner::Honest);
    let all_hold = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        let pull = || {
            let held = test.pull(&registry).map(|_| {
                let record = test.store.find(&image(&registry)).unwrap().unwrap();
                run(test.store.hold_layers(&record))
            });
            all_hold.wait();
            held.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
        };
        let pulls: Vec<_> = (0..4).map(|_| scope.spawn(pull)).collect();
        let held = pulls.into_iter().map(|it| it.join().unwrap());
        held.collect::<Result<Vec<_>, String>>()
    })?;
    assert_eq!(test.layers().len(), 2);
    Ok(())
}

fn breaks(name: &str, manner: Manner) -> Result<(), Failed> {
    let test = Test::new(name);
    let registry = Registry::start(manner);
    let events = test.pull(&registry)?;
    let again = events.iter().filter(|it| matches!(it, ImageEvent::Retrying { .. })).count();
    assert!(again > 0, "{events:?}");
    let layer = test.layers();
    assert_eq!(layer.len(), 2);
    let large = layer.iter().find_map(|layer| {
        let path = test.store.folder().join("layers").join(layer).join("rootfs/large");
        fs::read(path).ok()
    });
    assert_eq!(large.unwrap(), registry::large());
    Ok(())
}

fn a_layer_that_is_another_one() -> Result<(), Failed> {
    let test = Test::new("lies");
    let registry = Registry::start(Manner::Lies);
    let error = test.error(&registry);
    assert!(matches!(error, PullError::Digest { .. }), "{error}");
    assert!(test.store.find(&image(&registry))?.is_none());
    assert!(test.cleaned().len() < 2);
    Ok(())
}

fn with_a_token() -> Result<(), Failed> {
    let test = Test::new("token");
    let registry = Registry::start(Manner::Token);
    let error = test.error(&registry);
    assert!(matches!(error, PullError::Unauthorised { tried: None, .. }), "{error}");
    assert!(registry.passwords().is_empty());
    Ok(())
}

fn redirected() -> Result<(), Failed> {
    let test = Test::new("redirect");
    let elsewhere = Registry::start(Manner::Honest);
    let registry = Registry::start(Manner::Redirects(elsewhere.address()));
    test.pull(&registry)?;
    assert!(elsewhere.blobs() > 0);
    assert!(elsewhere.authorised() == 0, "{}", elsewhere.authorised());
    assert!(registry.authorised() > 0);
    Ok(())
}

fn refused() -> Result<(), Failed> {
    let test = Test::new("refused");
    let registry = Registry::start(Manner::Empty);
    let error = test.error(&registry);
    assert!(matches!(error, PullError::NotFound { .. }), "{error}");
    assert!(error.hint().is_some());
    let registry = Registry::start(Manner::OtherMachines);
    let error = test.error(&registry);
    assert_eq!(error.to_string().split(", only").last().unwrap(), " for linux/s390x");
    Ok(())
}
