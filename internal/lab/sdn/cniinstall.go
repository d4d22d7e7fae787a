package sdn

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// InstallCNI writes the plugin and its configuration where a node's container runtime
// looks for them. The plugin is a shell script that runs command, which has to end in
// RunCNI (the hidden command sdn-cni of Commands does); host-local has to be in binDir
// as well. An empty stateDir means DefaultStateDir.
func InstallCNI(binDir, confDir string, command []string, stateDir string) error {
	if stateDir == "" {
		stateDir = DefaultStateDir
	}
	conf, err := json.MarshalIndent(map[string]any{
		"cniVersion": "1.0.0", "name": CNIType, "type": CNIType, "stateDir": stateDir,
	}, "", "  ")
	if err != nil {
		return err
	}
	var quoted []string
	for _, word := range command {
		quoted = append(quoted, "'"+strings.ReplaceAll(word, "'", `'\''`)+"'")
	}
	script := "#!/bin/sh\nexec " + strings.Join(quoted, " ") + "\n"
	for path, content := range map[string]struct {
		data []byte
		mode os.FileMode
	}{
		filepath.Join(binDir, CNIType): {[]byte(script), 0o755},
		// OpenShift's own name of the file.
		filepath.Join(confDir, "80-openshift-network.conf"): {append(conf, '\n'), 0o644},
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("install the CNI plugin: %w", err)
		}
		if err := os.WriteFile(path, content.data, content.mode); err != nil {
			return fmt.Errorf("install the CNI plugin: %w", err)
		}
	}
	return nil
}
