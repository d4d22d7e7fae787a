package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sharing are the modules that the guest's init needs for reaching its shares.
var sharing = []string{"virtio_pci", "virtio_console", "9p", "9pnet_virtio", "overlay"}

// dependencies is a modules.dep(5): each module's file with the files that it needs,
// the deepest last.
type dependencies map[string][]string

func parseDependencies(text string) dependencies {
	d := dependencies{}
	for line := range strings.Lines(text) {
		file, needs, ok := strings.Cut(strings.TrimSpace(line), ":")
		if ok {
			d[file] = strings.Fields(needs)
		}
	}
	return d
}

// moduleName is the module's name by its file: without folder and ending, and with "_".
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// order lists the files of the modules and all that they need, in the order in which
// they can be loaded. Those of builtin (a modules.builtin) need no loading.
func (d dependencies) order(builtin string, names ...string) ([]string, error) {
	files := map[string]string{}
	for f := range d {
		files[moduleName(f)] = f
	}
	inside := map[string]bool{}
	for line := range strings.Lines(builtin) {
		inside[moduleName(strings.TrimSpace(line))] = true
	}
	var all []string
	for _, name := range names {
		file, ok := files[name]
		if !ok && inside[name] {
			continue
		}
		if !ok {
			return nil, fmt.Errorf("the kernel has no module %s", name)
		}
		for _, f := range slices.Backward(append([]string{file}, d[file]...)) {
			if !slices.Contains(all, f) {
				all = append(all, f)
			}
		}
	}
	return all, nil
}

// initrd is the guest's first root: its init and the modules that this loads.
func initrd(k Kernel, init []byte) ([]byte, error) {
	folder := filepath.Join(k.Modules, k.Release)
	deps, err := os.ReadFile(filepath.Join(folder, "modules.dep"))
	if err != nil {
		return nil, fmt.Errorf("modules of kernel %s: %w", k.Release, err)
	}
	builtin, err := os.ReadFile(filepath.Join(folder, "modules.builtin"))
	if err != nil {
		return nil, fmt.Errorf("modules of kernel %s: %w", k.Release, err)
	}
	files, err := parseDependencies(string(deps)).order(string(builtin), sharing...)
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", k.Release, err)
	}
	var c cpio
	for _, d := range []string{"dev", "modules"} {
		c.dir(d)
	}
	c.device("dev/console", 5, 1)
	c.file("init", modeExec, init)
	for i, f := range files {
		content, err := os.ReadFile(filepath.Join(folder, f))
		if err != nil {
			return nil, fmt.Errorf("modules of kernel %s: %w", k.Release, err)
		}
		c.file(fmt.Sprintf("modules/%02d-%s.ko", i, moduleName(f)), modeFile, content)
	}
	return c.bytes(), nil
}
