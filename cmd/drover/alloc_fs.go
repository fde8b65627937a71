package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

func newAllocFS(a *app) *cobra.Command {
	cmd := habits(noun("fs", "Look at the files of one copy", "  drover alloc fs ls 8f3c\n  drover alloc fs cat hello alloc/logs/web.stdout",
		newFSList(a),
		newFSCat(a),
		newFSStat(a),
	), "files", "file", "dir")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		err := helpOrUnknown(cmd, args)
		if err == nil || strings.Contains(err.Error(), "did you mean") {
			return err
		}
		return coded{fmt.Errorf("%w\n  `%s ls %s` lists files, `%s cat %s` prints one", err, cmd.CommandPath(), strings.Join(args, " "), cmd.CommandPath(),
			strings.Join(args, " ")), exitUnknown}
	}
	return cmd
}

// noFile says of a file that is not there where to look.
func noFile(err error, word string) error {
	if errors.Is(err, api.ErrNotFound) {
		return fmt.Errorf("%w\n  `drover alloc fs ls %s` lists what there is", err, word)
	}
	return err
}

const fsPaths = `
A path begins at the allocation's directory: alloc/ is what its tasks share, <task>/local a task's own. /local and /tmp, as a task sees
them, work too. Secrets cannot be read.`

// fileArgs are the arguments and the flag that name a file.
type fileArgs struct {
	task string
}

func (f *fileArgs) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.task, "task", "", "the `task` whose /local and /tmp are meant, when there are several")
}

// find makes a request of a command's arguments.
func (f *fileArgs) find(ctx context.Context, a *app, args []string) (*api.Client, api.FileRequest, error) {
	c, err := a.client()
	if err != nil {
		return nil, api.FileRequest{}, err
	}
	x, err := a.pickAlloc(ctx, c, args[0], false)
	if err != nil {
		return nil, api.FileRequest{}, err
	}
	r := api.FileRequest{AllocID: x.ID, Task: f.task, Path: "/"}
	if len(args) > 1 {
		r.Path = args[1]
	}
	return c, r, nil
}

func newFSList(a *app) *cobra.Command {
	var s shape
	var f fileArgs
	cmd := &cobra.Command{
		Use:     "ls <alloc|job> [path]",
		Short:   "List a directory of one copy",
		Long:    "List a directory of one copy." + fsPaths,
		Example: "  drover alloc fs ls 8f3c\n  drover alloc fs ls hello alloc/logs",
		Args:    arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, r, err := f.find(cmd.Context(), a, args)
			if err != nil {
				return err
			}
			files, err := c.ListFiles(cmd.Context(), r)
			if err != nil {
				return noFile(err, args[0])
			}
			return printList(a.out, s, list[api.FileInfo]{
				items: files, empty: "The directory is empty.", name: func(x api.FileInfo) string { return x.Name }, columns: fileColumns(),
			})
		},
		ValidArgsFunction: a.completeAllocs,
	}
	s.addFlags(cmd)
	f.addFlags(cmd)
	return cmd
}

func fileColumns() []column[api.FileInfo] {
	return []column[api.FileInfo]{
		{head: "Mode", cell: func(x api.FileInfo) string { return x.FileMode }},
		{head: "Size", cell: func(x api.FileInfo) string { return bytesOf(x.Size) }},
		{head: "Modified", cell: func(x api.FileInfo) string { return when(x.ModTime.UnixNano()) }},
		{head: "Name", cell: fileCell},
	}
}

func fileCell(x api.FileInfo) string {
	switch {
	case x.IsDir:
		return x.Name + "/"
	case x.Link != "":
		return x.Name + " -> " + x.Link
	}
	return x.Name
}

func newFSStat(a *app) *cobra.Command {
	var s shape
	var f fileArgs
	cmd := &cobra.Command{
		Use:     "stat <alloc|job> <path>",
		Short:   "Describe a file of one copy",
		Long:    "Describe a file of one copy." + fsPaths,
		Example: "  drover alloc fs stat hello alloc/logs/web.stdout",
		Args:    arguments(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, r, err := f.find(cmd.Context(), a, args)
			if err != nil {
				return err
			}
			info, err := c.StatFile(cmd.Context(), r)
			if err != nil {
				return noFile(err, args[0])
			}
			return s.printNamed(a.out, info, info.Name, func(w io.Writer) error {
				return facts(w, "Name", fileCell(info), "Mode", info.FileMode, "Size", bytesOf(info.Size),
					"Bytes", fmt.Sprint(info.Size), "Modified", when(info.ModTime.UnixNano()))
			})
		},
		ValidArgsFunction: a.completeAllocs,
	}
	s.addFlags(cmd)
	f.addFlags(cmd)
	return cmd
}

func newFSCat(a *app) *cobra.Command {
	var f fileArgs
	var o catOptions
	cmd := &cobra.Command{
		Use:   "cat <alloc|job> <path>",
		Short: "Print a file of one copy",
		Long:  "Print a file of one copy: all of it, its first or last lines or bytes, or what is added to it." + fsPaths,
		Example: `  drover alloc fs cat hello alloc/data/report.txt
  drover alloc fs cat -f -n 20 hello alloc/logs/web.stdout
  drover alloc fs cat --head -n 5 8f3c web/local/app.conf`,
		SuggestFor: []string{"tail", "head", "less", "read"},
		Args:       arguments(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			c, r, err := f.find(cmd.Context(), a, args)
			if err != nil {
				return err
			}
			err = o.cat(cmd.Context(), c, r, a.plainOut())
			if cmd.Context().Err() != nil && o.follow {
				return nil // interrupted: that is how following ends
			}
			return noFile(err, args[0])
		},
		ValidArgsFunction: a.completeAllocs,
	}
	f.addFlags(cmd)
	fs := cmd.Flags()
	fs.BoolVarP(&o.follow, "follow", "f", false, "go on with what is added to it, until interrupted")
	fs.IntVarP(&o.lines, "lines", "n", 0, "only the last so many lines; 0 for all")
	fs.Int64VarP(&o.bytes, "bytes", "c", 0, "only the last so many bytes; 0 for all")
	fs.BoolVar(&o.head, "head", false, "count from the beginning instead of the end")
	cmd.MarkFlagsMutuallyExclusive("lines", "bytes")
	cmd.MarkFlagsMutuallyExclusive("head", "follow")
	return cmd
}

// catOptions say which part of a file to print.
type catOptions struct {
	follow, head bool
	lines        int
	bytes        int64
}

// tailBlock is how much is read at a time in search of the last lines.
const tailBlock = 64 << 10

func (o catOptions) check() error {
	switch {
	case o.lines < 0 || o.bytes < 0:
		return errors.New("--lines and --bytes want a number of 0 or more")
	case o.head && o.lines == 0 && o.bytes == 0:
		return errors.New("--head needs to know how much: add -n or -c")
	}
	return nil
}

// cat prints the part of the file that is asked for.
func (o catOptions) cat(ctx context.Context, c *api.Client, r api.FileRequest, w io.Writer) error {
	info, err := c.StatFile(ctx, r)
	if err != nil {
		return err
	}
	if info.IsDir {
		return fmt.Errorf("%s is a directory; `drover alloc fs ls` lists it", r.Path)
	}
	from := int64(0)
	switch {
	case o.head && o.lines > 0:
		return copyFile(ctx, c, r, 0, 0, w, o.lines)
	case o.head:
		return copyFile(ctx, c, r, 0, o.bytes, w, 0)
	case o.lines > 0:
		if from, err = lastLines(ctx, c, r, info.Size, o.lines); err != nil {
			return err
		}
	case o.bytes > 0:
		from = max(0, info.Size-o.bytes)
	}
	if !o.follow {
		return copyFile(ctx, c, r, from, 0, w, 0)
	}
	body, err := c.FollowFile(ctx, r, info.Size-from)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // followed to its end, or given up
	_, err = io.Copy(w, body)
	return err
}

// copyFile prints a file from an offset on, at most limit bytes or so many lines of it; 0 means all.
func copyFile(ctx context.Context, c *api.Client, r api.FileRequest, from, limit int64, w io.Writer, lines int) error {
	body, err := c.ReadFile(ctx, r, from, limit)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // read as far as it is wanted
	if lines == 0 {
		_, err = io.Copy(w, body)
		return err
	}
	in := bufio.NewReader(body)
	for range lines {
		line, err := in.ReadString('\n')
		if _, werr := io.WriteString(w, line); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lastLines is the offset at which the last n lines of a file begin.
func lastLines(ctx context.Context, c *api.Client, r api.FileRequest, size int64, n int) (int64, error) {
	left := n
	for end := size; end > 0; {
		from := max(0, end-tailBlock)
		body, err := c.ReadFile(ctx, r, from, end-from)
		if err != nil {
			return 0, err
		}
		block, err := io.ReadAll(body)
		if err = errors.Join(err, body.Close()); err != nil {
			return 0, err
		}
		text := string(block)
		if end == size {
			text = strings.TrimSuffix(text, "\n") // it ends the last line
		}
		for i := strings.LastIndexByte(text, '\n'); i >= 0; i = strings.LastIndexByte(text[:i], '\n') {
			if left--; left == 0 {
				return from + int64(i) + 1, nil
			}
		}
		end = from
	}
	return 0, nil
}
