# The program, with its manual pages, completions and user unit.
{ lib, stdenv, rustPlatform, installShellFiles }:

rustPlatform.buildRustPackage {
  pname = "workerheal";
  version = (lib.importTOML ../../Cargo.toml).workspace.package.version;
  src = lib.cleanSource ../..;
  cargoLock.lockFile = ../../Cargo.lock;
  cargoBuildFlags = [ "--bin" "workerheal" ];
  # The tests start service managers, which a build may not.
  doCheck = false;
  nativeBuildInputs = [ installShellFiles ];
  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    $out/bin/workerheal man > workerheal.1
    $out/bin/workerheal man config > workerheal.yaml.5
    installManPage workerheal.1 workerheal.yaml.5
    for shell in bash zsh fish; do
      $out/bin/workerheal completions $shell > workerheal.$shell
      installShellCompletion --cmd workerheal --$shell workerheal.$shell
    done
  '' + lib.optionalString stdenv.hostPlatform.isLinux ''
    install -Dm644 -t $out/lib/systemd/user packaging/systemd/user/workerheal.service
    substituteInPlace $out/lib/systemd/user/workerheal.service \
      --replace-fail /usr/bin/workerheal $out/bin/workerheal --replace-fail /bin/kill kill
  '';
  meta = {
    description = "Keeps background workers alive: heals service units that are parked as failed";
    homepage = "https://github.com/workerheal/workerheal";
    license = with lib.licenses; [ mit asl20 ];
    mainProgram = "workerheal";
    platforms = lib.platforms.unix;
  };
}
