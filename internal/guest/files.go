package guest

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
)

// libraryPath finds the files in what ldd(1) prints.
var libraryPath = regexp.MustCompile(`(?m)(/\S+) \(0x`)

// files are the programs' files and those of their libraries.
func files(programs []string) []string {
	var all []string
	for _, p := range programs {
		path, err := exec.LookPath(p)
		if err != nil {
			continue
		}
		out, err := exec.Command("ldd", path).Output()
		if err != nil {
			out = nil // a script, or linked statically
		}
		all = append(all, resolved(path))
		for _, m := range libraryPath.FindAllSubmatch(out, -1) {
			all = append(all, resolved(string(m[1])))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}
