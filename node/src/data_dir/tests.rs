use tempfile::tempdir;

use super::*;

fn identity(project: &str, nodes: u32) -> Identity {
    Identity::found(ClusterId([7; 16]), project, Path::new("/tree"), nodes)
}

fn take(path: &Path, wanted: &Identity) -> Result<DataDir, DataDirError> {
    DataDir::open_or_found(path, wanted, |_, directory| {
        fs::create_dir_all(directory).map_err(io_error("create", directory))
    })
}

#[test]
fn founded_once_and_opened_again_as_the_same_cluster() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("data");
    let first = identity("p", 3);
    drop(take(&path, &first).unwrap());
    let second = Identity::found(ClusterId([8; 16]), "p", Path::new("/tree"), 3);
    let again = take(&path, &second).unwrap();
    assert_eq!(again.identity(), &first);
    assert_eq!(again.identity().cluster_id().unwrap(), ClusterId([7; 16]));
    assert!(again.node_path(NodeId(3)).is_dir());
}

#[test]
fn a_second_user_is_refused_and_told_the_pid() {
    let dir = tempdir().unwrap();
    let held = take(dir.path(), &identity("p", 1)).unwrap();
    let error = take(dir.path(), &identity("p", 1)).unwrap_err();
    assert!(matches!(error, DataDirError::Locked { .. }), "{error}");
    assert!(
        error.to_string().contains(&std::process::id().to_string()),
        "{error}"
    );
    drop(held);
    take(dir.path(), &identity("p", 1)).unwrap();
}

#[test]
fn another_project_folder_size_or_version_is_refused() {
    let dir = tempdir().unwrap();
    drop(take(dir.path(), &identity("p", 3)).unwrap());
    let error = take(dir.path(), &identity("q", 3)).unwrap_err();
    assert!(
        error.to_string().contains("the project p, not to q"),
        "{error}"
    );
    let elsewhere = Identity::found(ClusterId([7; 16]), "p", Path::new("/other"), 3);
    let error = take(dir.path(), &elsewhere).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the folder /tree, not to /other"),
        "{error}"
    );
    let error = take(dir.path(), &identity("p", 5)).unwrap_err();
    assert!(error.to_string().contains("--nodes 3"), "{error}");
    fs::write(
        dir.path().join(IDENTITY_FILE),
        br#"{"version": 9, "new_field": true}"#,
    )
    .unwrap();
    let error = take(dir.path(), &identity("p", 3)).unwrap_err();
    assert!(
        matches!(error, DataDirError::OtherVersion { found: 9, .. }),
        "{error}"
    );
}

#[test]
fn a_directory_with_something_else_in_it_is_left_alone() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "x").unwrap();
    let error = take(dir.path(), &identity("p", 1)).unwrap_err();
    assert!(matches!(error, DataDirError::NotOurs { .. }), "{error}");
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "nothing was added"
    );
}

#[test]
fn an_interrupted_founding_begins_again() {
    let dir = tempdir().unwrap();
    fs::create_dir_all(dir.path().join("n1")).unwrap();
    fs::write(dir.path().join("n1/half"), "x").unwrap();
    drop(take(dir.path(), &identity("p", 3)).unwrap());
    assert!(!dir.path().join("n1/half").exists());
}

#[test]
fn a_reader_finds_nothing_and_leaves_nothing() {
    let dir = tempdir().unwrap();
    let error = DataDir::open(dir.path(), ".", Duration::ZERO).unwrap_err();
    assert!(
        error.to_string().contains("precentor generate ."),
        "{error}"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn every_life_is_higher_than_the_last() {
    let dir = tempdir().unwrap();
    let data = take(dir.path(), &identity("p", 1)).unwrap();
    assert_eq!(data.begin_life().unwrap(), 1);
    assert_eq!(data.begin_life().unwrap(), 2);
    fs::write(dir.path().join(LIFE_FILE), "soon").unwrap();
    assert!(matches!(
        data.begin_life(),
        Err(DataDirError::Damaged { .. })
    ));
}

#[test]
fn found_by_name_and_by_the_nearest_folder_above() {
    let dir = tempdir().unwrap();
    let path = default_path(dir.path(), "my project", Path::new("/tree"));
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("my_project-"), "{name}");
    drop(take(&path, &identity("my project", 1)).unwrap());
    assert_eq!(find_project(dir.path(), "my project")[0].0, path);
    assert!(find_project(dir.path(), "other").is_empty());
    assert_eq!(
        find_source(dir.path(), Path::new("/tree/a/b")).unwrap().0,
        path
    );
    assert!(find_source(dir.path(), Path::new("/elsewhere")).is_none());
}

#[test]
fn a_founding_that_fails_leaves_no_identity() {
    let dir = tempdir().unwrap();
    let result: Result<DataDir, DataDirError> =
        DataDir::open_or_found(dir.path(), &identity("p", 1), |_, _| {
            Err(DataDirError::NoHome)
        });
    assert!(result.is_err());
    assert!(read_identity(dir.path()).unwrap().is_none());
    let founded: Result<DataDir, _> =
        DataDir::open_or_found(dir.path(), &identity("p", 1), |_, directory| {
            fs::create_dir_all(directory).map_err(io_error("create", directory))
        });
    assert!(founded.is_ok());
}
