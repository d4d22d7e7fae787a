// Command crdgen copies the CustomResourceDefinitions that the lab serves from the
// pinned version of github.com/openshift/api into a folder.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const module = "github.com/openshift/api"

// sources are paths in the module.
var sources = []string{
	"config/v1/zz_generated.crd-manifests/0000_10_config-operator_01_networks.crd.yaml",
	"network/v1/zz_generated.crd-manifests/001_clusternetworks.crd.yaml",
	"network/v1/zz_generated.crd-manifests/002_hostsubnets.crd.yaml",
	"network/v1/zz_generated.crd-manifests/003_netnamespaces.crd.yaml",
	"network/v1/zz_generated.crd-manifests/004_egressnetworkpolicies.crd.yaml",
	"security/v1/zz_generated.crd-manifests/0000_03_config-operator_01_securitycontextconstraints.crd.yaml",
	"operator/v1/zz_generated.crd-manifests/0000_70_dns_00_dnses.crd.yaml",
}

func main() {
	out := flag.String("out", ".", "the folder to write into")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "crdgen:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return fmt.Errorf("find %s in the module cache: %w", module, err)
	}
	for _, src := range sources {
		data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), filepath.FromSlash(src)))
		if err != nil {
			return fmt.Errorf("read %s: %w", src, err)
		}
		if err := os.WriteFile(filepath.Join(out, name(src)), data, 0o644); err != nil {
			return fmt.Errorf("write the copy of %s: %w", src, err)
		}
	}
	return nil
}

// name is <group>_<plural>.crd.yaml, from upstream's <order>_<plural>.crd.yaml.
func name(src string) string {
	group, _, _ := strings.Cut(src, "/")
	base := src[strings.LastIndexAny(src, "_/")+1:]
	return group + "_" + base
}
