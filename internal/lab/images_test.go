package lab

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestCoreDNSVersion: users get the version that the lab runs.
func TestCoreDNSVersion(t *testing.T) {
	find := func(path, pattern string) string {
		text, err := os.ReadFile(filepath.Join("..", "..", path))
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(pattern).FindSubmatch(text)
		if m == nil {
			t.Fatalf("%s has no %s", path, pattern)
		}
		return string(m[1])
	}
	pinned := find("lab/tools/node/go.mod", `github.com/coredns/coredns (v\S+)`)
	for path, pattern := range map[string]string{
		"roles/dns/defaults/main.yml":          `coredns/coredns:(v[0-9.]+)`,
		"inventory.example/group_vars/all.yml": `coredns/coredns:(v[0-9.]+)`,
	} {
		if got := find(path, pattern); got != pinned {
			t.Errorf("%s has CoreDNS %s, the lab %s", path, got, pinned)
		}
	}
}
