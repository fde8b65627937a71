package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

func newImage(a *app) *cobra.Command {
	return habits(noun("image", "Import images into the cluster, without a registry",
		"  docker save app:1 | drover image import -\n  drover image list",
		newImageImport(a), newImageList(a), newImageInfo(a), newImageRemove(a)), "images", "registry")
}

func newImageList(a *app) *cobra.Command {
	var s shape
	var verbose bool
	r := &reader{app: a}
	cmd := &cobra.Command{
		Use:        "list [prefix]",
		Short:      "List the images that were imported into the cluster",
		Long:       "List the images that were imported into the cluster, a line for each name, with the machines that have them.",
		Example:    "  drover image list\n  drover image list app\n  drover image list --filter 'Live == 0'\n  drover image list --json",
		Aliases:    []string{"ls"},
		SuggestFor: []string{"status", "get", "images"},
		Args:       arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			q := r.listed()
			q.Prefix = strings.Join(args, "")
			images, err := fetchAll(cmd.Context(), r, q, c.Images)
			if err != nil {
				return err
			}
			l := imageList(images, verbose)
			if q.Filter != "" || q.Prefix != "" {
				l.empty = "No image that was imported is like that. List all with `drover image list`."
			}
			return printList(a.out, s, l)
		},
		ValidArgsFunction: a.completeImages,
	}
	s.addFlags(cmd)
	r.addFlags(cmd)
	r.addFilterFlag(cmd)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "whole digests")
	return cmd
}

// imageLine is one name of an image.
type imageLine struct {
	api.ImageListItem
	name string
}

// imageList is how images are listed: by name. The answer for programs is the images themselves.
func imageList(images []api.ImageListItem, verbose bool) list[imageLine] {
	var lines []imageLine
	for _, img := range images {
		for _, n := range img.Names {
			lines = append(lines, imageLine{img, state.FamiliarImage(n)})
		}
		if len(img.Names) == 0 {
			lines = append(lines, imageLine{img, ""})
		}
	}
	slices.SortStableFunc(lines, func(a, b imageLine) int { return strings.Compare(a.name, b.name) })
	add := func(head string, cell func(imageLine) string) column[imageLine] {
		return column[imageLine]{head: head, cell: cell}
	}
	l := list[imageLine]{
		items: lines, answer: images, empty: "No images were imported. Import one with: docker save app:1 | drover image import -",
		name: func(i imageLine) string { return orElse(i.name, i.Digest) },
		columns: []column[imageLine]{
			add("Name", func(i imageLine) string { return orDash(i.name) }),
			add("Digest", func(i imageLine) string { return shownDigest(i.Digest, verbose) }),
			add("Size", func(i imageLine) string { return bytesOf(i.Size) }),
			add("Platforms", func(i imageLine) string { return strings.Join(i.Platforms, ",") }),
			add("Machines", func(i imageLine) string { return machineWords(i.ImageListItem) }),
			{head: "Imported", at: func(i imageLine) int64 { return i.CreatedAt }},
			{head: "Source", wide: true, cell: func(i imageLine) string { return orDash(i.Source) }},
		},
	}
	if len(images) == 0 {
		l.answer = []api.ImageListItem{}
	}
	return l
}

func shownDigest(digest string, verbose bool) string {
	if verbose {
		return digest
	}
	return state.ShortDigest(digest)
}

// machineWords is how many machines have an image: "3", "2 (1 down)", "1 of 3".
func machineWords(i api.ImageListItem) string {
	text := strconv.Itoa(i.Live)
	if i.Live < i.Copies {
		text += fmt.Sprintf(" of %d", i.Copies)
	}
	if down := i.Holders - i.Live; down > 0 {
		text += fmt.Sprintf(" (%d down)", down)
	}
	return text
}

func newImageInfo(a *app) *cobra.Command {
	var s shape
	r := &reader{app: a}
	cmd := &cobra.Command{
		Use:        "info <image>",
		Short:      "Show an imported image: its digest, who has it, which jobs need it",
		Example:    "  drover image info app:1\n  drover image info sha256:4f1c",
		SuggestFor: []string{"inspect", "show", "describe"},
		Args:       arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			v, err := find(cmd.Context(), r, api.QueryOptions{}, args[0], c.FindImage)
			if err != nil {
				return err
			}
			return s.printNamed(a.out, v, v.Digest, func(w io.Writer) error { return writeImage(w, v) })
		},
		ValidArgsFunction: a.completeImages,
	}
	s.addFlags(cmd)
	r.addStale(cmd)
	return cmd
}

func writeImage(w io.Writer, v *api.ImageView) error {
	var names []string
	for _, n := range v.Names {
		names = append(names, state.FamiliarImage(n))
	}
	if err := facts(w, "Names", orDash(strings.Join(names, ", ")), "Digest", v.Digest, "Size", bytesOf(v.Size),
		"Platforms", strings.Join(v.Platforms, ", "), "Imported", when(v.CreatedAt), "Source", orDash(v.Source),
		"Copies wanted", strconv.Itoa(v.Copies)); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nMachines that have it")
	var rows [][]string
	for _, h := range v.HolderNodes {
		rows = append(rows, []string{shortID(h.NodeID, false), orDash(h.Name), orElse(h.Status, "gone")})
	}
	if err := table(w, "ID|Name|Status", rows); err != nil {
		return err
	}
	if len(v.Jobs) == 0 {
		_, err := fmt.Fprintln(w, "\nNo job needs it.")
		return err
	}
	fmt.Fprintln(w, "\nJobs that need it")
	rows = nil
	for _, j := range v.Jobs {
		rows = append(rows, []string{j.Namespace, j.ID})
	}
	return table(w, "Namespace|Job ID", rows)
}

func newImageRemove(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "remove <image>...",
		Short: "Take a name from an image or, with its last name or by its digest, remove it",
		Long: `Take a name from an image or, with its last name or by its digest, remove it: the machines that have it drop it. It is refused while
a job needs the image; with --force the job's copies run on, but cannot be started again.`,
		Example:    "  drover image remove app:1\n  drover image remove --force sha256:4f1c",
		Aliases:    []string{"rm"},
		SuggestFor: []string{"delete", "prune", "rmi"},
		Args:       arguments(1, 100),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var errs []error
			for _, ref := range args {
				if err := removeImage(cmd.Context(), a, c, ref, force); err != nil {
					errs = append(errs, err)
				}
			}
			return errors.Join(errs...)
		},
		ValidArgsFunction: a.completeImages,
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "also when jobs need it")
	return cmd
}

func removeImage(ctx context.Context, a *app, c *api.Client, ref string, force bool) error {
	v, err := c.FindImage(ctx, ref, api.QueryOptions{})
	if err != nil {
		return err
	}
	full := v.Digest // the beginning of a digest
	if parsed, err := state.ParseImage(ref); err == nil {
		for _, n := range v.Names {
			if n == parsed.Name {
				full = n
			}
		}
	}
	if _, err := c.RemoveImage(ctx, full, force, api.WriteOptions{}); err != nil {
		return err
	}
	if full != v.Digest && len(v.Names) > 1 {
		_, err = fmt.Fprintf(a.out, "The name %s is removed; the image %s has others.\n", state.FamiliarImage(full), state.ShortDigest(v.Digest))
		return err
	}
	_, err = fmt.Fprintf(a.out, "Image %s (%s) is removed, from %s.\n", ref, state.ShortDigest(v.Digest), plural(len(v.HolderNodes), "machine"))
	return err
}

func (a *app) completeImages(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd, args, func(ctx context.Context, c *api.Client) ([]string, error) {
		images, _, err := c.Images(ctx, api.QueryOptions{Prefix: word, Stale: true, PerPage: 50})
		var out []string
		for _, img := range images {
			for _, n := range img.Names {
				out = append(out, state.FamiliarImage(n)+"\t"+state.ShortDigest(img.Digest))
			}
		}
		return out, err
	})
}
