package playbook

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Tree is a folder that holds playbooks/ and roles/.
type Tree struct {
	// Dir is the folder; Library holds the modules, built for this machine.
	Dir, Library string
	// Source: the tree is a source tree, not extracted from the program.
	Source bool

	remove string // what to delete in the end
}

// Close deletes what was extracted.
func (t Tree) Close() error {
	if t.remove == "" {
		return nil
	}
	return os.RemoveAll(t.remove)
}

// marker is the file by which a tree is known.
var marker = filepath.Join("playbooks", "deploy.yml")

// probeModule is the module by which a library is known.
const probeModule = "sdn_cluster_facts"

// Locate finds the playbooks: the source tree that the program was built in, if it is
// still there (the program is in its bin/), else the embedded files, extracted into a
// temporary folder of mode 0700. Modules come from the embedded library if there is
// one, else from a folder "library" beside the program.
func Locate(embedded fs.FS) (Tree, error) {
	exe, err := os.Executable()
	if err != nil {
		return Tree{}, fmt.Errorf("find the program's own path: %w", err)
	}
	if exe, err = filepath.EvalSymlinks(exe); err != nil {
		return Tree{}, fmt.Errorf("find the program's own path: %w", err)
	}
	return locate(filepath.Dir(exe), embedded)
}

func locate(bin string, embedded fs.FS) (Tree, error) {
	root := filepath.Dir(bin)
	if exists(filepath.Join(root, marker)) && exists(filepath.Join(root, "go.mod")) {
		t := Tree{Dir: root, Library: filepath.Join(root, "playbooks", "library"), Source: true}
		return t, t.check("make modules, in " + root)
	}
	if _, err := fs.Stat(embedded, filepath.ToSlash(marker)); err != nil {
		return Tree{}, fmt.Errorf("no playbooks: neither in %s nor in the program: %w", root, err)
	}
	dir, err := os.MkdirTemp("", "sdn-tunnel-")
	if err != nil {
		return Tree{}, fmt.Errorf("make a folder for the playbooks: %w", err)
	}
	t := Tree{Dir: dir, remove: dir, Library: filepath.Join(dir, "playbooks", "library")}
	if err := extract(embedded, dir); err != nil {
		return Tree{}, errors.Join(err, t.Close())
	}
	if !exists(filepath.Join(t.Library, probeModule)) {
		t.Library = filepath.Join(bin, "library")
	}
	if err := t.check("copy playbooks/library of a built source tree to " + t.Library); err != nil {
		return Tree{}, errors.Join(err, t.Close())
	}
	return t, nil
}

// check makes sure that the modules are there.
func (t Tree) check(remedy string) error {
	if exists(filepath.Join(t.Library, probeModule)) {
		return nil
	}
	return fmt.Errorf("the Ansible modules are not built: %s is missing in %s; remedy: %s", probeModule, t.Library, remedy)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// extract copies files below dir; modules become executable.
func extract(files fs.FS, dir string) error {
	return fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("read embedded %s: %w", path, err)
		}
		target := filepath.Join(dir, filepath.FromSlash(path))
		if d.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		content, err := fs.ReadFile(files, path)
		if err != nil {
			return fmt.Errorf("read embedded %s: %w", path, err)
		}
		mode := fs.FileMode(0o600)
		if filepath.Base(filepath.Dir(target)) == "library" && filepath.Ext(target) == "" {
			mode = 0o700
		}
		if err := os.WriteFile(target, content, mode); err != nil {
			return fmt.Errorf("extract %s: %w", path, err)
		}
		return nil
	})
}
