package wg

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func openKeys(t *testing.T, dir string) *Keys {
	t.Helper()
	k, err := OpenKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestKeysAreReplaced, and that a process which starts at any point goes on with a key
// that the peers know or are told.
func TestKeysAreReplaced(t *testing.T) {
	dir := t.TempDir()
	k := openKeys(t, dir)
	first, since := k.Current()
	next, err := k.Next()
	must(t, err)
	if again, err := openKeys(t, dir).Next(); err != nil || again.Public() != next.Public() || !k.Pending() {
		t.Errorf("after a restart the successor is %v, was %v (%v)", again.Public(), next.Public(), err)
	}
	if now, _ := openKeys(t, dir).Current(); now.Public() != first.Public() {
		t.Error("a successor that is not in use has replaced the key")
	}
	time.Sleep(10 * time.Millisecond)
	must(t, k.Switch())
	now, from := k.Current()
	if now.Public() != next.Public() || !from.After(since) || k.Pending() {
		t.Errorf("switched: %v since %v", now.Public(), from)
	}
	if got := files(t, dir); !slices.Equal(got, []string{"key", "key.old"}) {
		t.Errorf("files %v", got)
	}
	must(t, k.Back())
	if now, _ := k.Current(); now.Public() != first.Public() || !slices.Equal(files(t, dir), []string{"key"}) {
		t.Errorf("back: %v, files %v", now.Public(), files(t, dir))
	}
	other, err := k.Next()
	must(t, err)
	if other.Public() == next.Public() {
		t.Error("a key that was taken back is used again")
	}
	must(t, k.Switch())
	restarted := openKeys(t, dir)
	if now, since := restarted.Current(); now.Public() != other.Public() || time.Since(since) > time.Minute || !slices.Equal(files(t, dir), []string{"key"}) {
		t.Errorf("a restart after the switch: %v since %v, files %v", now.Public(), since, files(t, dir))
	}
	must(t, k.Forget()) // twice is no error
	for _, name := range files(t, dir) {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
	}
}

// TestCrashBetweenTwoNames: the process ends when the key's file has a second name, in the
// middle of Switch or of Back. That file is not to be destroyed with the name.
func TestCrashBetweenTwoNames(t *testing.T) {
	for _, aside := range []string{oldFile, nextFile} {
		dir := t.TempDir()
		key, _ := openKeys(t, dir).Current()
		must(t, os.Link(filepath.Join(dir, keyFile), filepath.Join(dir, aside)))
		for range 2 { // the next process has it in its memory, the one after that has not
			k := openKeys(t, dir)
			if now, _ := k.Current(); now.Public() != key.Public() || k.Pending() {
				t.Errorf("%s: the key is %v, was %v; pending: %v", aside, now.Public(), key.Public(), k.Pending())
			}
		}
		if got := files(t, dir); !slices.Equal(got, []string{keyFile}) {
			t.Errorf("%s: files %v", aside, got)
		}
	}
}

// TestCrashWhileDestroying: a successor that is overwritten and still there is none.
func TestCrashWhileDestroying(t *testing.T) {
	dir := t.TempDir()
	openKeys(t, dir)
	must(t, os.WriteFile(filepath.Join(dir, nextFile), make([]byte, 45), 0o600))
	if _, err := openKeys(t, dir).Next(); err != nil {
		t.Errorf("no successor can be made any more: %v", err)
	}
}

// TestDestroyedKeysAreOverwritten: who still has the file open finds nothing in it.
func TestDestroyedKeysAreOverwritten(t *testing.T) {
	dir := t.TempDir()
	k := openKeys(t, dir)
	f, err := os.Open(filepath.Join(dir, keyFile))
	must(t, err)
	defer f.Close()
	_, err = k.Next()
	must(t, err)
	must(t, k.Switch())
	must(t, k.Forget())
	content := make([]byte, 64)
	n, err := f.Read(content)
	must(t, err)
	for _, b := range content[:n] {
		if b != 0 {
			t.Fatalf("the former key's file still has contents")
		}
	}
	if n < 44 {
		t.Errorf("%d bytes were overwritten, want the whole key", n)
	}
}

func TestUnreadableSuccessorIsNamed(t *testing.T) {
	dir := t.TempDir()
	k := openKeys(t, dir)
	must(t, os.WriteFile(filepath.Join(dir, nextFile), []byte("?"), 0o600))
	if err := k.Switch(); err == nil {
		t.Error("what is no key was put in the key's place")
	}
	must(t, k.Drop())
	if k.Pending() {
		t.Error("it is still there")
	}
}
