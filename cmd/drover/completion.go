package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

func shells() []string { return []string{"bash", "zsh", "fish"} }

func newCompletion(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a script that completes commands, flags and IDs in a shell",
		Long: `Print a script with which a shell completes commands, flags, and the IDs of jobs, allocations and nodes, which it asks the agent for.
` + "`drover completion install`" + ` puts it where new shells find it; or put the line of the example into the shell's start file.`,
		Example: `  drover completion install
  source <(drover completion bash)                                      # ~/.bashrc, with the package bash-completion
  source <(drover completion zsh)                                       # ~/.zshrc, behind compinit
  drover completion fish > ~/.config/fish/completions/drover.fish`,
		GroupID:     groupOther,
		Annotations: map[string]string{offline: "true"},
		ValidArgs:   shells(),
		Args:        arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			script, err := completionScript(cmd.Root(), args[0])
			if err != nil {
				return err
			}
			_, err = a.out.Write(script)
			return err
		},
	}
	cmd.AddCommand(newCompletionInstall(a))
	return cmd
}

// completionScript is the script of a shell.
func completionScript(root *cobra.Command, shell string) ([]byte, error) {
	var b bytes.Buffer
	var err error
	switch shell {
	case "bash":
		err = root.GenBashCompletionV2(&b, true)
	case "zsh":
		err = root.GenZshCompletion(&b)
	case "fish":
		err = root.GenFishCompletion(&b, true)
	default:
		err = fmt.Errorf("no completion for %q: there is one for %s", shell, joinWords(shells()))
	}
	return b.Bytes(), err
}

func newCompletionInstall(a *app) *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use:   "install [bash|zsh|fish]",
		Short: "Put the completion where new shells of the user find it",
		Long: `Put the completion where new shells of the user find it, by default of the shell that $SHELL names. For bash that is the user's
directory of the package bash-completion, for fish its own; for zsh a line is added to ~/.zshrc. Doing it again brings it up to date.`,
		Example:     "  drover completion install\n  drover completion install zsh\n  drover completion install --remove",
		Annotations: map[string]string{offline: "true"},
		ValidArgs:   shells(),
		Args:        arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			shell := filepath.Base(a.getenv("SHELL"))
			if len(args) == 1 {
				shell = args[0]
			}
			script, err := completionScript(cmd.Root(), shell)
			if err != nil {
				return err
			}
			path, err := a.completionPath(shell)
			if err != nil {
				return err
			}
			if remove {
				return a.removeCompletion(shell, path)
			}
			return a.installCompletion(shell, path, script)
		},
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "take it away again")
	return cmd
}

// completionPath is where a shell's script goes.
func (a *app) completionPath(shell string) (string, error) {
	home := a.getenv("HOME")
	if home == "" {
		return "", errors.New("there is no home directory: HOME is not set; print the script with `drover completion " + shell + "` instead")
	}
	dir := func(variable, fallback string) string {
		if d := a.getenv(variable); filepath.IsAbs(d) {
			return d
		}
		return filepath.Join(home, fallback)
	}
	switch shell {
	case "bash":
		return filepath.Join(dir("XDG_DATA_HOME", ".local/share"), "bash-completion/completions/drover"), nil
	case "fish":
		return filepath.Join(dir("XDG_CONFIG_HOME", ".config"), "fish/completions/drover.fish"), nil
	}
	return filepath.Join(a.configDir(), "completion.zsh"), nil
}

// zshLine is what loads the script in ~/.zshrc.
func zshLine(path string) string {
	return fmt.Sprintf("[ -f %s ] && source %s # drover completion", quote(path), quote(path))
}

func (a *app) installCompletion(shell, path string, script []byte) error {
	if err := replaceFile(path, script); err != nil {
		return err
	}
	next := "New shells have it."
	switch shell {
	case "bash":
		next = "New shells have it, where the package bash-completion is installed."
	case "zsh":
		rc := filepath.Join(a.getenv("HOME"), ".zshrc")
		if err := editLines(rc, func(lines []string) []string {
			return append(withoutCompletion(lines), zshLine(path))
		}); err != nil {
			return err
		}
		next = "A line in ~/.zshrc loads it in new shells; it has to stand behind compinit."
	}
	_, err := fmt.Fprintf(a.out, "Wrote %s. %s\n", path, next)
	return err
}

func (a *app) removeCompletion(shell, path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if shell == "zsh" {
		if err := editLines(filepath.Join(a.getenv("HOME"), ".zshrc"), withoutCompletion); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(a.out, "Removed %s.\n", path)
	return err
}

func withoutCompletion(lines []string) []string {
	var out []string
	for _, l := range lines {
		if !strings.HasSuffix(l, "# drover completion") {
			out = append(out, l)
		}
	}
	return out
}

// editLines changes the lines of a file of the user's, and keeps its mode; one that does not exist has none.
func editLines(path string, edit func([]string) []string) error {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var lines []string
	if text := strings.TrimSuffix(string(data), "\n"); text != "" {
		lines = strings.Split(text, "\n")
	}
	out := strings.Join(edit(lines), "\n")
	if out != "" {
		out += "\n"
	}
	if out == string(data) {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(out)
	return errors.Join(err, f.Close())
}
