# nix build "github:workerheal/workerheal?dir=packaging/nix"
{
  description = "Keeps background workers alive: heals service units that are parked as failed";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin" ];
      eachSystem = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
    in
    {
      packages = eachSystem (pkgs: rec {
        default = workerheal;
        workerheal = pkgs.callPackage ./package.nix { };
      });
      nixosModules.default = import ./module.nix self;
    };
}
