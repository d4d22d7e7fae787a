package purity

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/sdn-tunnel/sdn-tunnel"

// pure are the packages that plan. Whatever they import of this module is pure, too.
var pure = []string{
	"api/v1alpha1",
	"internal/clusterset",
	"internal/diagnose",
	"internal/dnsplan",
	"internal/mesh",
	"internal/meshobj",
	"internal/meshplan",
	"internal/remoteservice",
	"ovsflow",
}

// allowed are imports that would be forbidden by a prefix, with the reason.
var allowed = map[string]string{
	"github.com/digitalocean/go-openvswitch/ovs": "the vocabulary of flows: matches and actions, no client",
}

// forbidden are import paths and their subpackages that do I/O, and what for.
var forbidden = map[string]string{
	"os":                                  "files and processes",
	"io/fs":                               "files",
	"io/ioutil":                           "files",
	"syscall":                             "the kernel",
	"net/http":                            "the network",
	"net/rpc":                             "the network",
	"net/smtp":                            "the network",
	"crypto/tls":                          "the network",
	"log":                                 "output",
	"time/tzdata":                         "files",
	"golang.org/x/sys":                    "the kernel",
	"golang.org/x/net":                    "the network",
	"github.com/vishvananda":              "netlink",
	"github.com/mdlayher":                 "netlink",
	"github.com/digitalocean":             "Open vSwitch",
	"github.com/ovn-kubernetes":           "OVSDB",
	"golang.zx2c4.com":                    "WireGuard",
	"k8s.io/client-go":                    "the Kubernetes API",
	"k8s.io/apiserver":                    "the Kubernetes API",
	"sigs.k8s.io/controller-runtime":      "the Kubernetes API",
	"sigs.k8s.io/knftables":               "nftables",
	"github.com/openshift/client-go":      "the OpenShift API",
	"github.com/apenella/go-ansible":      "Ansible",
	"github.com/containernetworking":      "netns",
	"github.com/prometheus/client_golang": "metrics",
}

// impure are functions of package net, which is allowed for its types, that do I/O; and
// of package ovs, which is allowed for its vocabulary; and of package time: no clock.
var impure = map[string][]string{
	"net": {"Dial", "DialTimeout", "Dialer", "Listen", "ListenConfig", "ListenPacket", "DialUDP", "DialTCP", "DialIP",
		"ListenUDP", "ListenTCP", "ListenIP", "Interfaces", "InterfaceAddrs", "InterfaceByName", "InterfaceByIndex",
		"LookupHost", "LookupIP", "LookupAddr", "LookupCNAME", "LookupMX", "LookupNS", "LookupSRV", "LookupTXT",
		"LookupPort", "Resolver", "DefaultResolver", "ResolveIPAddr", "ResolveTCPAddr", "ResolveUDPAddr"},
	"time": {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"},
	"github.com/digitalocean/go-openvswitch/ovs": {"New", "Client", "Exec", "Sudo", "Pipe", "Debug"},
}

func TestPlanningDoesNoIO(t *testing.T) {
	seen := map[string]bool{}
	for _, dir := range pure {
		check(t, dir, dir, seen)
	}
	if len(seen) < len(pure) {
		t.Fatalf("only %d packages were read", len(seen))
	}
}

// check reads the package in dir and, in turn, those of this module that it imports. via
// is the way by which it was reached.
func check(t *testing.T, dir, via string, seen map[string]bool) {
	t.Helper()
	if seen[dir] {
		return
	}
	seen[dir] = true
	for path, file := range sources(t, dir) {
		for imported, name := range imports(t, path) {
			if sub, ok := strings.CutPrefix(imported, module+"/"); ok {
				check(t, sub, via+" -> "+sub, seen)
				continue
			}
			if reason := banned(imported); reason != "" {
				t.Errorf("%s (%s) imports %s: %s does not belong into a package that plans", path, via, imported, reason)
			}
			for _, f := range impure[imported] {
				if uses(file, name, f) {
					t.Errorf("%s (%s) uses %s.%s: a package that plans does no I/O and has no clock", path, via, name, f)
				}
			}
		}
	}
}

func banned(path string) string {
	if _, ok := allowed[path]; ok {
		return ""
	}
	for at := path; ; {
		if reason, ok := forbidden[at]; ok {
			return reason
		}
		i := strings.LastIndexByte(at, '/')
		if i < 0 {
			return ""
		}
		at = at[:i]
	}
}

// sources are the package's files that are built, by path.
func sources(t *testing.T, dir string) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(dir), "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no Go files in %s (%v)", dir, err)
	}
	files := map[string]string{}
	for _, p := range paths {
		if strings.HasSuffix(p, "_test.go") {
			continue
		}
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		files[p] = string(b)
	}
	return files
}

// imports are the file's imports and the names by which it calls them.
func imports(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, i := range f.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		names[p] = p[strings.LastIndexByte(p, '/')+1:]
		if i.Name != nil {
			names[p] = i.Name.Name
		}
	}
	return names
}

// uses tells whether the source mentions name.f as a whole word.
func uses(source, name, f string) bool {
	for rest := source; ; {
		i := strings.Index(rest, name+"."+f)
		if i < 0 {
			return false
		}
		after := rest[i+len(name)+1+len(f):]
		if after == "" || !isWord(after[0]) && (i == 0 || !isWord(rest[i-1])) {
			return true
		}
		rest = after
	}
}

func isWord(b byte) bool {
	return b == '_' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

// testOnly are packages that only tests import, and each other.
var testOnly = []string{"internal/apitest", "internal/golden", "internal/nettest", "internal/servicetest"}

func TestOnlyTestsImport(t *testing.T) {
	read := 0
	root := filepath.Join("..", "..")
	for _, top := range []string{"ansible-modules", "api", "cmd", "internal", "ovsflow", "samples"} {
		if err := filepath.WalkDir(filepath.Join(root, top), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			if own, err := filepath.Rel(root, filepath.Dir(path)); err != nil || slices.Contains(testOnly, own) {
				return err
			}
			read++
			for imported := range imports(t, path) {
				if sub := strings.TrimPrefix(imported, module+"/"); slices.Contains(testOnly, sub) {
					t.Errorf("%s imports %s, which is made for tests", path, sub)
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if read < 100 {
		t.Fatalf("only %d files were read", read)
	}
}

func TestBanned(t *testing.T) {
	for path, want := range map[string]bool{
		"os": true, "os/exec": true, "net": false, "net/netip": false, "net/http": true, "osutil": false,
		"k8s.io/client-go/kubernetes": true, "k8s.io/apimachinery/pkg/apis/meta/v1": false,
		"github.com/vishvananda/netlink": true, "golang.zx2c4.com/wireguard/wgctrl": true,
		"github.com/digitalocean/go-openvswitch/ovs": false, "github.com/digitalocean/go-openvswitch/ovsdb": true,
	} {
		if got := banned(path) != ""; got != want {
			t.Errorf("%s: banned is %v, want %v", path, got, want)
		}
	}
	if !uses("x := net.Dial(a)", "net", "Dial") || uses("x := net.Dialect", "net", "Dial") || uses("subnet.Dial()", "net", "Dial") {
		t.Error("uses does not tell words apart")
	}
}
