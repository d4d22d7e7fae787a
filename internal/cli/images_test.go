package cli

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"

	sdntunnel "github.com/sdn-tunnel/sdn-tunnel"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab"
)

var imageRE = regexp.MustCompile(`localhost/sdn-tunnel/(agent|controller|test-app):[^\s'"]+`)

// TestImagesAreThoseThatAreBuilt: without variables, deploy and verify use the images as
// `sdn-tunnel lab images`, and with it `make images`, names them.
func TestImagesAreThoseThatAreBuilt(t *testing.T) {
	found := map[string]bool{}
	see := func(where, text string) {
		for _, image := range imageRE.FindAllString(text, -1) {
			name, tag, _ := strings.Cut(strings.TrimPrefix(image, "localhost/sdn-tunnel/"), ":")
			if found[name] = true; tag != lab.Version {
				t.Errorf("%s: %s, but images are built with the tag %s", where, image, lab.Version)
			}
		}
	}
	see("verify", defaultTestImage)
	for _, path := range []string{"roles/tunnel/defaults/main.yml", "roles/verify/defaults/main.yml", "inventory.example/group_vars/all.yml"} {
		text, err := fs.ReadFile(sdntunnel.Files(), path)
		if err != nil {
			t.Fatal(err)
		}
		see(path, string(text))
	}
	if len(found) != 3 {
		t.Errorf("images named: %v, want agent, controller and test-app", found)
	}
}
