//! An image is sent to registries that break, that want a password, and that have it already.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use libtest_mimic::Failed;
use netarium::image::outgoing::{OutgoingError, Packed, Packing, pack};
use netarium::image::{ImageEvent, PullError, PullOptions, Store, Transport};
use netarium_core::image::{Platform, Reference};
use netarium_core::model::Image;
use serde_json::json;

use crate::registry::{Manner, Registry};
use crate::{Folder, run};

/// Names the file with credentials.
const VARIABLE: &str = "REGISTRY_AUTH_FILE";

/// The passwords of this process, by registry.
static PASSWORDS: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

fn passwords() -> PathBuf {
    std::env::temp_dir().join(format!("netarium-auth-{}.json", std::process::id()))
}

/// Has the library find the passwords of this process: it begins once more, with their place in the
/// variable for that.
pub(crate) fn name_the_passwords() {
    if std::env::var_os(VARIABLE).is_some_and(|named| named == passwords()) {
        return;
    }
    #[expect(clippy::disallowed_methods, reason = "the test program starts itself")]
    let mut again = Command::new("/proc/self/exe");
    let error = again.args(std::env::args_os().skip(1)).env(VARIABLE, passwords()).exec();
    panic!("cannot begin again: {error}");
}

/// Removes them, if there are any.
pub(crate) fn forget_the_passwords() {
    fs::remove_file(passwords()).ok();
}

fn log_in(registry: &Registry, password: &str) {
    let mut all = PASSWORDS.lock().unwrap();
    all.insert(registry.address.clone(), password.to_owned());
    let entry = |it: &String| json!({"username": "anna", "password": it});
    let auths: BTreeMap<_, _> = all.iter().map(|(name, it)| (name, entry(it))).collect();
    let new = passwords().with_extension("new");
    let text = json!({ "auths": auths }).to_string();
    fs::File::create(&new).unwrap().write_all(text.as_bytes()).unwrap();
    fs::rename(new, passwords()).unwrap();
}

fn platforms() -> [Platform; 2] {
    ["linux/amd64", "linux/arm64"].map(|it| it.parse().unwrap())
}

/// A store with an image for two platforms, as if they had been built.
fn packed(folder: &Path) -> Result<Packed, Failed> {
    let store = Store::at(folder)?;
    for (number, platform) in platforms().iter().enumerate() {
        let image = folder.join(format!("{number}").repeat(64));
        fs::create_dir_all(image.join("rootfs/bin"))?;
        let mut shell = fs::File::create(image.join("rootfs/bin/sh"))?;
        // More than fits into the buffers between the two.
        shell.write_all(platform.to_string().repeat(1 << 20).as_bytes())?;
        let record = json!({
            "name": "made", "platform": platform, "suite": "bookworm", "packages": ["nothing"],
            "created": 0, "bytes": 4096,
        });
        fs::File::create(image.join("image.json"))?.write_all(record.to_string().as_bytes())?;
    }
    let packing = Packing { platforms: platforms().to_vec(), ..Packing::default() };
    Ok(run(pack(&store, &store.built("made")?, &packing, &|_| ()))?)
}

fn name_in(registry: &Registry) -> Reference {
    format!("{}/some/image:1", registry.address).parse().unwrap()
}

/// How much was sent, and how much was there.
fn push(packed: &Packed, registry: &Registry) -> Result<(u64, u64), Box<OutgoingError>> {
    let told = Mutex::new((0, 0));
    let report = |event| {
        if let ImageEvent::Pushed { sent, there } = event {
            *told.lock().unwrap() = (sent, there);
        }
    };
    run(packed.push(&name_in(registry), Transport::Plain, &report))?;
    Ok(told.into_inner().unwrap())
}

/// Both platforms go there and come back; what breaks off is sent again, what is there is not.
pub(crate) fn what_breaks_off_is_sent_again_and_what_is_there_is_not() -> Result<(), Failed> {
    let folder = Folder::new("pushed")?;
    let packed = packed(&folder.0.join("images"))?;
    let registry = Registry::start(Manner::Breaks(2));
    let (sent, there) = push(&packed, &registry)?;
    assert!(sent >= packed.bytes() && there == 0, "{sent} {there}");
    assert_eq!((registry.sent(), registry.blobs()), (4, 4), "a layer and a description for each");
    assert_eq!(registry.named("1").as_deref(), Some(packed.digest()));
    assert_eq!(push(&packed, &registry)?, (0, sent));
    assert_eq!(registry.sent(), 4);
    let store = Store::at(&folder.0.join("others"))?;
    let mut digests = Vec::new();
    for platform in platforms() {
        let reference = name_in(&registry);
        let image = Image::Registry { reference, platform: Some(platform.clone()) };
        let options = PullOptions { transport: Transport::Plain };
        let pulled = run(store.pull(&image, options, &|_| ()))?;
        assert_eq!(pulled.platform, platform);
        assert_eq!(registry.named(&pulled.digest).as_deref(), Some(pulled.digest.as_str()));
        digests.push(pulled.digest);
    }
    assert_ne!(digests[0], digests[1]);
    run(store.remove_pulled(|_| true))?;
    Ok(())
}

pub(crate) fn what_never_arrives_is_not_named() -> Result<(), Failed> {
    let folder = Folder::new("broken")?;
    let packed = packed(&folder.0.join("images"))?;
    let registry = Registry::start(Manner::Breaks(usize::MAX));
    let error = push(&packed, &registry).unwrap_err();
    assert!(
        matches!(*error, OutgoingError::Push { source: PullError::Connection { .. }, .. }),
        "{error}"
    );
    assert_eq!((registry.blobs(), registry.named("1")), (0, None));
    Ok(())
}

pub(crate) fn who_pushes_needs_the_password_that_fits() -> Result<(), Failed> {
    for (name, manner) in [("basic", Manner::Basic), ("bearer", Manner::Bearer)] {
        let folder = Folder::new(name)?;
        let packed = packed(&folder.0.join("images"))?;
        let registry = Registry::start(manner);
        let refused = |password: Option<&str>| {
            let error = push(&packed, &registry).unwrap_err();
            let OutgoingError::Push { source: PullError::Unauthorised { tried, .. }, .. } = *error
            else {
                panic!("{name}: {password:?}: {error:?}");
            };
            assert_eq!(tried.is_some(), password.is_some(), "{name}");
            assert_eq!((registry.sent(), registry.named("1")), (0, None));
        };
        refused(None);
        log_in(&registry, "wrong");
        refused(Some("wrong"));
        log_in(&registry, "secret");
        push(&packed, &registry)?;
        assert_eq!(registry.named("1").as_deref(), Some(packed.digest()));
        // Whoever may send it may have it back.
        let store = Store::at(&folder.0.join("others"))?;
        let platform = Some(platforms()[1].clone());
        let image = Image::Registry { reference: name_in(&registry), platform };
        let options = PullOptions { transport: Transport::Plain };
        assert_eq!(run(store.pull(&image, options, &|_| ()))?.layers.len(), 1);
        log_in(&registry, "wrong");
        assert!(run(store.pull(&image, options, &|_| ())).is_err());
        run(store.remove_pulled(|_| true))?;
    }
    Ok(())
}
