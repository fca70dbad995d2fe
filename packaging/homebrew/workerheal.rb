# For a tap: brew tap-new USER/workerheal, then put this into its Formula directory.
class Workerheal < Formula
  desc "Keeps background workers alive: heals service units that are parked as failed"
  homepage "https://github.com/workerheal/workerheal"
  url "https://github.com/workerheal/workerheal/archive/refs/tags/v0.2.0.tar.gz"
  # Of the release's archive of the source; set when the release is tagged.
  sha256 "0000000000000000000000000000000000000000000000000000000000000000"
  license any_of: ["MIT", "Apache-2.0"]
  head "https://github.com/workerheal/workerheal.git", branch: "main"

  depends_on "rust" => :build

  def install
    system "cargo", "install", *std_cargo_args
    (man1/"workerheal.1").write Utils.safe_popen_read(bin/"workerheal", "man")
    (man5/"workerheal.yaml.5").write Utils.safe_popen_read(bin/"workerheal", "man", "config")
    generate_completions_from_executable(bin/"workerheal", "completions")
    doc.install "config/workerheal.yaml" => "config.example.yaml"
  end

  def caveats
    <<~EOS
      To start it now and at each login, without `brew services`:
        workerheal install
    EOS
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/workerheal --version")
    (testpath/"config.yaml").write "helth: {}\n"
    output = shell_output("#{bin}/workerheal --config #{testpath}/config.yaml check 2>&1", 2)
    assert_match "did you mean `heal`", output
  end
end
