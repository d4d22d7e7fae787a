package tools

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// copyAsset copies a module's files into the folder dst.
func (b Builder) copyAsset(ctx context.Context, a asset, dst string) error {
	src, err := b.moduleDir(ctx, a)
	if err != nil {
		return fmt.Errorf("%s: %w", a.name, err)
	}
	if err := os.MkdirAll(dst, 0o755); err != nil {
		return err
	}
	for _, pattern := range a.files {
		files, err := filepath.Glob(filepath.Join(src, pattern))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("%s: %s has no %s: %w", a.name, a.path, pattern, os.ErrNotExist)
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
			if err := os.WriteFile(filepath.Join(dst, filepath.Base(f)), data, 0o644); err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
		}
	}
	return nil
}

// moduleDir is where the module cache has an asset's module, downloaded if need be.
func (b Builder) moduleDir(ctx context.Context, a asset) (string, error) {
	list := []string{"list", "-mod=readonly", "-m", "-f", "{{.Dir}}", a.path}
	dir, err := b.run(ctx, a.module, nil, list...)
	if err != nil || dir != "" {
		return dir, err
	}
	if _, err := b.run(ctx, a.module, nil, "mod", "download", a.path); err != nil {
		return "", err
	}
	return b.run(ctx, a.module, nil, list...)
}
