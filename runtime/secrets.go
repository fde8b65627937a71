package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// maxSecrets bounds the files that are looked at below a task's secrets.
const maxSecrets = 10_000

// GiveSecrets gives a task's secrets directory, and what the agent has put there, to the user that the task runs as. Drivers call
// it before every start: only they know what a user's name means, on the machine or in an image. Nobody else may look into it. What
// belongs to another user than root already is left alone. An agent that is not root runs tasks as its own user, who has the
// directory already.
func GiveSecrets(dir string, uid, gid int) error {
	if dir == "" || os.Geteuid() != 0 {
		return nil
	}
	root, err := os.OpenRoot(dir) // links below it do not lead out of it, and are not followed
	if err != nil {
		return fmt.Errorf("give the secrets directory to user %d: %w", uid, err)
	}
	defer root.Close()
	seen := 0
	err = fs.WalkDir(root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if seen++; seen > maxSecrets {
			return fmt.Errorf("more than %d files", maxSecrets)
		}
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); path != "." && (!ok || st.Uid != 0) {
			return nil
		}
		return root.Lchown(path, uid, gid)
	})
	if err == nil {
		err = root.Chmod(".", 0o700)
	}
	if err != nil {
		return fmt.Errorf("give the secrets directory to user %d: %w", uid, err)
	}
	return nil
}
