package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/internal/image"
)

// asides are what the shell of a story asks this program itself.
func asides() []string { return []string{"newest", "image", "get"} }

// aside answers it.
func aside(what string, args []string) error {
	switch {
	case what == "newest" && len(args) == 1:
		return newest(os.Stdin, args[0])
	case what == "image" && len(args) >= 3 && len(args) <= 4:
		return writeImage(args[0], args[1], args[2], append(args[3:], "1")[0])
	case what == "get" && len(args) == 1:
		return get(args[0])
	}
	return fmt.Errorf("%s %q: see e2e/cli/doc.go", what, args)
}

// newest prints the ID of the newest allocation of a name, of a list as `alloc status -json` prints it.
func newest(in io.Reader, name string) error {
	var allocs []api.AllocListItem
	if err := json.NewDecoder(in).Decode(&allocs); err != nil {
		return err
	}
	var best *api.AllocListItem
	for i := range allocs {
		if allocs[i].Name == name && (best == nil || allocs[i].CreateIndex > best.CreateIndex) {
			best = &allocs[i]
		}
	}
	if best == nil {
		return fmt.Errorf("there is no allocation %s", name)
	}
	_, err := fmt.Println(best.ID)
	return err
}

// writeImage writes an image of a program as docker save does. Its version makes it another one.
func writeImage(program, ref, path, version string) error {
	img, err := image.Build(program, image.Config{Env: []string{"PATH=/bin", "HELLO_VERSION=" + version}})
	if err != nil {
		return err
	}
	return image.WriteTar(img, path, ref)
}

// get prints what a web server answers.
func get(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, io.LimitReader(resp.Body, 1<<20))
	return errors.Join(err, resp.Body.Close())
}
