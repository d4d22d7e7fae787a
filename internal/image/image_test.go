package image

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

func TestParseLdd(t *testing.T) {
	for name, c := range map[string]struct {
		out  string
		want []string
		fail string
	}{
		"libraries and loader": {
			out:  "\tlinux-vdso.so.1 (0x7f)\n\tlibmnl.so.0 => /lib/x/libmnl.so.0 (0x7f)\n\t/lib64/ld-linux.so.2 (0x7f)\n",
			want: []string{"/lib/x/libmnl.so.0", "/lib64/ld-linux.so.2"},
		},
		"static":  {out: "\tstatically linked\n"},
		"missing": {out: "\tlibfoo.so.1 => not found\n", fail: "libfoo.so.1 is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseLdd(c.out)
			if c.fail != "" {
				if err == nil || !strings.Contains(err.Error(), c.fail) {
					t.Fatalf("error %v, want %q", err, c.fail)
				}
				return
			}
			if err != nil || !slices.Equal(got, c.want) {
				t.Fatalf("got %v, %v, want %v", got, err, c.want)
			}
		})
	}
}

func testSpec(t *testing.T, content string) Spec {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "prog")
	if err := os.WriteFile(bin, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	s := TestApp("localhost/x/test-app:1", bin)
	s.Symlinks = map[string]string{"/var/run": "/run"}
	s.HostPrograms = []string{"tar"}
	s.HostFiles = []string{"/usr/lib/*/xtables/libxt_set.so"}
	return s
}

func TestImageHoldsProgramsAndTheirLibraries(t *testing.T) {
	img, err := Build(testSpec(t, "hello"))
	if err != nil {
		t.Fatal(err)
	}
	r := mutate.Extract(img)
	defer r.Close()
	have := map[string]string{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		have["/"+h.Name] = h.Linkname
	}
	libs, err := closure("tar")
	if err != nil || len(libs) < 2 {
		t.Fatalf("closure of tar: %v, %v", libs, err)
	}
	plugins, err := filepath.Glob("/usr/lib/*/xtables/libxt_set.so")
	if err != nil || len(plugins) == 0 {
		t.Fatalf("no libxt_set.so: %v", err)
	}
	for _, p := range append(append(libs, plugins...), "/usr/bin/test-app", "/tmp", "/var") {
		if _, ok := have[p]; !ok {
			t.Errorf("%s is not in the image", p)
		}
	}
	if have["/var/run"] != "/run" {
		t.Errorf("/var/run -> %q, want /run", have["/var/run"])
	}
	if _, err := closure("no-such-program-here"); err == nil {
		t.Error("a missing program was not refused")
	}
	if _, err := Build(Spec{Ref: "localhost/x/y:1", HostFiles: []string{"/usr/lib/no-such-file-*"}}); err == nil {
		t.Error("a missing file was not refused")
	}
}

func TestWriteChangesNothingTheSecondTime(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out", "x.tar")
	s := testSpec(t, "one")
	for i, want := range []bool{true, false} {
		if changed, err := Write(file, s); err != nil || changed != want {
			t.Fatalf("write %d: changed %v, %v, want %v", i, changed, err, want)
		}
	}
	if err := os.WriteFile(s.Files["/usr/bin/test-app"], []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	if changed, err := Write(file, s); err != nil || !changed {
		t.Fatalf("after a change: changed %v, %v", changed, err)
	}
}

// TestAgentWithKubeRouter: the image has kube-router and everything that it runs.
func TestAgentWithKubeRouter(t *testing.T) {
	program := filepath.Join(t.TempDir(), "kube-router")
	if err := os.WriteFile(program, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := AgentWithKubeRouter("localhost/x/agent:1", program, program, "../../images/rt_tables")
	s.HostPrograms = slices.DeleteFunc(s.HostPrograms, func(p string) bool { return strings.HasPrefix(p, "ovs-") })
	img, err := Build(s)
	if err != nil {
		t.Fatal(err)
	}
	r := mutate.Extract(img)
	defer r.Close()
	want := map[string]bool{
		"usr/bin/kube-router": true, "usr/sbin/iptables": true, "usr/sbin/ip6tables": true, "usr/sbin/ipset": true,
		"usr/sbin/conntrack": true, "usr/sbin/ip": true, "usr/sbin/modprobe": true,
	}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		delete(want, h.Name)
		if h.Name == "etc/iproute2/rt_tables" {
			// What kube-router looks for before it writes: the image's root is read-only.
			if text, err := io.ReadAll(tr); err != nil || !strings.Contains(string(text), "kube-router-dsr") || !strings.Contains(string(text), "external_ip") {
				t.Errorf("rt_tables: %s, %v", text, err)
			}
			delete(want, h.Name)
		}
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}
