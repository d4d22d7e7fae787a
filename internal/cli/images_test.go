package cli

import (
	"io/fs"
	"regexp"
	"testing"

	sdntunnel "github.com/sdn-tunnel/sdn-tunnel"
	"github.com/sdn-tunnel/sdn-tunnel/internal/inventory"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab"
)

var (
	imageRE   = regexp.MustCompile(`localhost/sdn-tunnel/(agent|controller|test-app):`)
	versionRE = regexp.MustCompile(`sdn_tunnel_version(?: \| default\('|: )([^',\s]+)`)
)

// TestImagesAreThoseThatAreBuilt: without variables, deploy and verify use the images as
// `sdn-tunnel lab images`, and with it `make images`, names them.
func TestImagesAreThoseThatAreBuilt(t *testing.T) {
	found := map[string]bool{}
	for _, path := range []string{
		"roles/tunnel/defaults/main.yml", "roles/verify/defaults/main.yml", "inventory.example/group_vars/all.yml",
	} {
		text, err := fs.ReadFile(sdntunnel.Files(), path)
		if err != nil {
			t.Fatal(err)
		}
		for _, image := range imageRE.FindAllStringSubmatch(string(text), -1) {
			found[image[1]] = true
		}
		versions := versionRE.FindAllStringSubmatch(string(text), -1)
		if len(versions) == 0 {
			t.Errorf("%s names no version", path)
		}
		for _, v := range versions {
			if v[1] != lab.Version {
				t.Errorf("%s: the version is %s, but images are built with the tag %s", path, v[1], lab.Version)
			}
		}
	}
	if len(found) != 3 {
		t.Errorf("images named: %v, want agent, controller and test-app", found)
	}
	if image := testImage(inventory.Inventory{}); image != "localhost/sdn-tunnel/test-app:"+lab.Version {
		t.Errorf("verify uses %s", image)
	}
}
