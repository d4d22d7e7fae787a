package wg

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// leaks tells whether text has the key in any form that a printer gives it.
func leaks(text string, k PrivateKey) bool {
	raw := k.raw()
	for _, form := range []string{
		string(raw[:]), raw.String(), base64.RawURLEncoding.EncodeToString(raw[:]), hex.EncodeToString(raw[:]),
		strings.Trim(fmt.Sprint([32]byte(raw)), "[]"),
		strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", raw[:]), "[]byte{"), "}"),
		strings.Trim(fmt.Sprintf("% x", raw[:]), "[]"),
	} {
		if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
			return true
		}
	}
	return false
}

func newKey(t *testing.T) PrivateKey {
	t.Helper()
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestPrivateKeyDoesNotPrint(t *testing.T) {
	k := newKey(t)
	if raw := k.raw(); !leaks(raw.String(), k) || !leaks(fmt.Sprintf("%v", raw[:]), k) || !leaks(fmt.Sprintf("%x", raw[:]), k) {
		t.Fatal("the test does not notice a leak")
	}
	type hidden struct {
		key PrivateKey
		ptr *PrivateKey
		all []PrivateKey
	}
	part, err := New(Config{MTU: func() int { return 1440 }, Key: k})
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{
		"value": k, "pointer": &k, "slice": []PrivateKey{k}, "map": map[string]PrivateKey{"k": k},
		"exported field": Config{Key: k}, "part": part, "unexported field": hidden{k, &k, []PrivateKey{k}},
		"pointer to unexported field": &hidden{k, &k, []PrivateKey{k}},
	}
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "% x", "%#x", "%c", "%U", "%o", "%b", "%t", "%e", "%p", "%10s", "%-10v"} {
			if out := fmt.Sprintf(verb, v); leaks(out, k) {
				t.Errorf("%s shows the key of a %s", verb, name)
			}
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		if out := fmt.Sprintf(verb, k); out != redacted {
			t.Errorf("%s: %q", verb, out)
		}
	}
}

func TestPrivateKeyIsNotEncoded(t *testing.T) {
	k := newKey(t)
	if out, err := json.Marshal(map[string]any{"key": k}); err == nil {
		t.Errorf("encoded as %s", out)
	}
	var text, js bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&text, nil), slog.NewJSONHandler(&js, nil)} {
		slog.New(h).Info("start", "key", k, "config", Config{Key: k})
	}
	if leaks(text.String()+js.String(), k) {
		t.Error("the key is in the log")
	}
}

func TestKeyFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	first, err := LoadOrCreateKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadOrCreateKey(dir)
	if err != nil || again.raw() != first.raw() {
		t.Errorf("a second start has another key (%v)", err)
	}
	path := filepath.Join(dir, keyFile)
	mode := func() os.FileMode {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return st.Mode()
	}
	if m := mode(); m != 0o600 {
		t.Errorf("mode %v", m)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreateKey(dir); err != nil || mode() != 0o600 {
		t.Errorf("a file open to all stays so: %v, %v", mode(), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left in the folder: %v, %v", entries, err)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("folder %v, %v", st.Mode(), err)
	}
}

// TestKeyFileBroken: a node with a new key would be a stranger to its peers, so a file
// that is no key stops it, and what is left of the key is not told.
func TestKeyFileBroken(t *testing.T) {
	whole := newKey(t).raw().String()
	for name, content := range map[string]string{
		"empty": "", "cut": whole[:30], "two keys": whole + "\n" + whole, "not base64": "s3cret-" + whole,
		"zero": base64.StdEncoding.EncodeToString(make([]byte, 32)), "zeroes": strings.Repeat("\x00", 45),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, keyFile)
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := LoadOrCreateKey(dir)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range []string{path, "restore it, or delete it"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if len(content) > 8 && strings.Contains(err.Error(), content[:8]) {
				t.Errorf("%q tells the content", err)
			}
			if after, _ := os.ReadFile(path); string(after) != content {
				t.Error("the file was changed")
			}
		})
	}
}

func TestKeyFileCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file where the folder should be
		t.Fatal(err)
	}
	if k, err := LoadOrCreateKey(dir); err == nil || !k.IsZero() {
		t.Errorf("key %v, error %v", k, err)
	}
}
