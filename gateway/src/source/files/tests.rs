//! Directories as people, editors and Kubernetes write them.

use std::os::unix::fs::symlink;

use super::*;

/// A directory of its own, removed at the end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sallyport-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn names(texts: &Texts) -> Vec<&str> {
    let names = texts.files.iter().map(|(name, _)| name.as_str());
    names.map(|name| name.rsplit('/').next().unwrap()).collect()
}

#[test]
fn a_directory_is_its_visible_configuration_by_name() {
    let scratch = Scratch::new("list");
    for name in [
        "b.yaml",
        "a.yml",
        "c.json",
        ".a.yaml.swp",
        ".hidden.yaml",
        "notes.txt",
        "d.yaml~",
        "sub/e.yaml",
    ] {
        scratch.write(name, name);
    }
    let texts = Files::default().read(std::slice::from_ref(&scratch.0));
    assert_eq!(names(&texts), ["a.yml", "b.yaml", "c.json"]);
    assert!(texts.problems.is_empty());
}

#[test]
fn a_swapped_data_directory_is_read_through_its_links() {
    let scratch = Scratch::new("swap");
    scratch.write("..1/gateway.yaml", "old");
    scratch.write("..2/gateway.yaml", "new");
    symlink("..1", scratch.0.join("..data")).unwrap();
    symlink("..data/gateway.yaml", scratch.0.join("gateway.yaml")).unwrap();
    let mut files = Files::default();
    let read = |files: &mut Files| {
        files.read(std::slice::from_ref(&scratch.0)).files[0]
            .1
            .clone()
    };
    assert_eq!(read(&mut files), "old");
    symlink("..2", scratch.0.join("..data_tmp")).unwrap();
    fs::rename(scratch.0.join("..data_tmp"), scratch.0.join("..data")).unwrap();
    assert_eq!(read(&mut files), "new");
}

#[test]
fn what_cannot_be_read_keeps_its_last_text() {
    let scratch = Scratch::new("unreadable");
    let path = scratch.write("a.yaml", "good");
    let mut files = Files::default();
    assert_eq!(files.read(std::slice::from_ref(&path)).files.len(), 1);
    fs::write(&path, b"\xff\xfe").unwrap();
    let texts = files.read(std::slice::from_ref(&path));
    assert_eq!(
        (texts.files[0].1.as_str(), texts.problems.len()),
        ("good", 1)
    );
    fs::remove_dir_all(&scratch.0).unwrap();
    let texts = files.read(std::slice::from_ref(&scratch.0));
    assert_eq!(
        (texts.files[0].1.as_str(), texts.problems.len()),
        ("good", 2)
    );
}

#[test]
fn changes_are_noticed_once_and_reading_is_none() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let scratch = Scratch::new("watch");
        let path = scratch.write("a.yaml", "1");
        let mut watch = Watch::new(Duration::from_millis(5));
        watch.set(BTreeSet::from([scratch.0.clone()]));
        for text in ["2", "3"] {
            fs::write(&path, text).unwrap();
            timeout(Duration::from_secs(10), watch.changed())
                .await
                .unwrap();
        }
        fs::read(&path).unwrap();
        // A write after the read is the only thing that is seen.
        let quiet = timeout(Duration::from_millis(100), watch.changed()).await;
        assert!(quiet.is_err(), "reading is no change");
        let other = scratch.write("b.yaml.tmp", "x");
        fs::rename(other, scratch.0.join("b.yaml")).unwrap();
        timeout(Duration::from_secs(10), watch.changed())
            .await
            .unwrap();
    });
}
