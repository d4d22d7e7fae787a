package golden

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// failures are a test that only notes how it fails.
type failures struct {
	testing.TB
	said string
}

func (f *failures) Helper()                           {}
func (f *failures) Errorf(format string, args ...any) { f.said += fmt.Sprintf(format, args...) }

func (f *failures) Fatal(args ...any) {
	f.said += fmt.Sprint(args...)
	panic(f)
}

// said is what Check has to say.
func said(t *testing.T, name, got string) string {
	t.Helper()
	f := &failures{TB: t}
	func() {
		defer func() {
			if r := recover(); r != nil && r != any(f) {
				panic(r)
			}
		}()
		Check(f, name, got)
	}()
	return f.said
}

func TestCheck(t *testing.T) {
	was := *update
	t.Cleanup(func() { *update = was })
	*update = false
	t.Chdir(t.TempDir())
	if err := os.Mkdir("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if got := said(t, "a", "one\n"); !strings.Contains(got, "no such file") {
		t.Errorf("without the file: %q", got)
	}
	path := filepath.Join("testdata", "a")
	if err := os.WriteFile(path, []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := said(t, "a", "one\n"); got != "" {
		t.Errorf("the same: %q", got)
	}
	for _, other := range []string{"two\n", "", "one"} {
		if got := said(t, "a", other); !strings.Contains(got, "not as in "+path) {
			t.Errorf("%q: %q", other, got)
		}
	}
	*update = true
	if got := said(t, "a", "two\n"); got != "" {
		t.Errorf("-update: %q", got)
	}
	is, err := os.ReadFile(path)
	info, errInfo := os.Stat(path)
	if err != nil || errInfo != nil || string(is) != "two\n" || info.Mode() != 0o600 {
		t.Errorf("-update left %q, %v, %v, %v", is, info.Mode(), err, errInfo)
	}
}
