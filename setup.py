"Builds the package from `settings.ini`, the one place for its name, version and requirements."
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

config = ConfigParser(delimiters=["="])
config.read(Path(__file__).parent / "settings.ini", encoding="utf-8")
settings = config["DEFAULT"]

setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=settings["author"],
    author_email=settings["author_email"],
    url=settings["git_url"],
    license="Apache-2.0",
    keywords=settings["keywords"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Education",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    packages=find_packages(include=["petbreeds", "petbreeds.*"]),
    include_package_data=True,
    python_requires=f">={settings['min_python']}",
    install_requires=settings["requirements"].split(),
    extras_require={name: settings[f"{name}_requirements"].split() for name in ("dev", "docs", "heic")},
    entry_points={
        "console_scripts": settings["console_scripts"].split(),
        "nbdev": ["petbreeds=petbreeds._modidx:d"],
    },
)
