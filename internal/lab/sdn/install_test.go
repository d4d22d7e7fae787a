package sdn

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
)

func TestDefinitionsOfOpenShift(t *testing.T) {
	folder := t.TempDir()
	for _, f := range apitest.ModuleFiles(t, "github.com/openshift/api",
		"config/v1/zz_generated.crd-manifests/*_networks.crd.yaml", "network/v1/zz_generated.crd-manifests/*.yaml") {
		if err := os.Symlink(f, filepath.Join(folder, filepath.Base(f))); err != nil {
			t.Fatal(err)
		}
	}
	definitions, err := readDefinitions(os.DirFS(folder))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range definitions {
		names = append(names, d.GetName())
	}
	for _, want := range []string{"networks.config.openshift.io", "clusternetworks.network.openshift.io", "hostsubnets.network.openshift.io", "netnamespaces.network.openshift.io"} {
		if !slices.Contains(names, want) {
			t.Errorf("no %s among %q", want, names)
		}
	}
}

func TestNoDefinitionsIsAnError(t *testing.T) {
	if _, err := readDefinitions(nil); err == nil {
		t.Error("took none for a cluster's definitions")
	}
	if _, err := readDefinitions(fstest.MapFS{}); err == nil {
		t.Error("took an empty folder for a cluster's definitions")
	}
	if _, err := readDefinitions(fstest.MapFS{"bad.yaml": {Data: []byte("a: [")}}); err == nil {
		t.Error("took half an object for one")
	}
}
