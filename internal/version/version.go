// Package version says which build of sdn-tunnel this is.
package version

import "runtime/debug"

// Version is set when linking: -ldflags "-X …/internal/version.Version=v1.2.3".
var Version = "dev"

// String is the version, with the source revision where the toolchain recorded it.
func String() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Version
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" && len(setting.Value) >= 12 {
			return Version + " (" + setting.Value[:12] + ")"
		}
	}
	return Version
}
