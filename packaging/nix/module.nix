# NixOS: `services.workerheal.enable = true` starts it for each user at login.
self:
{ config, lib, pkgs, ... }:
let
  cfg = config.services.workerheal;
in
{
  options.services.workerheal = {
    enable = lib.mkEnableOption "workerheal for the units of each user";
    package = lib.mkOption {
      type = lib.types.package;
      default = self.packages.${pkgs.stdenv.hostPlatform.system}.default;
      description = "The package to use.";
    };
  };
  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ];
    systemd.packages = [ cfg.package ];
    systemd.user.services.workerheal.wantedBy = [ "default.target" ];
  };
}
