package inventory

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// header is above what Write writes.
const header = `---
# Inventory of a mesh, for sdn-tunnel (or ansible-playbook -i THIS playbooks/deploy.yml).
# Each host of the group clusters is a cluster; its name is its name in the mesh.
# With a user and a password instead of a kubeconfig: url, username, password, ca_file
# (keep the password in a vault). inventory.example/ documents every variable.
`

// Write writes a new inventory; it refuses to replace a file.
func Write(path string, inv Inventory) error {
	hosts := map[string]any{}
	for _, c := range inv.Clusters {
		vars := map[string]string{}
		for name, value := range map[string]string{
			"kubeconfig": c.Access.Kubeconfig, "kube_context": c.Access.Context, "url": c.Access.URL,
			"username": c.Access.Username, "ca_file": c.Access.CAFile,
		} {
			if value != "" {
				vars[name] = value
			}
		}
		hosts[c.Name] = vars
	}
	vars := map[string]any{
		"ansible_connection":         "local",
		"ansible_python_interpreter": "{{ ansible_playbook_python }}",
	}
	maps.Copy(vars, inv.Vars)
	group := map[string]any{"hosts": hosts, "vars": vars}
	body, err := yaml.Marshal(map[string]any{"clusters": group})
	if err != nil {
		return fmt.Errorf("write the inventory: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write the inventory: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s exists: remove it first, or choose another --output", path)
	}
	if err != nil {
		return fmt.Errorf("write the inventory: %w", err)
	}
	_, err = f.WriteString(header + string(body))
	return errors.Join(err, f.Close())
}
